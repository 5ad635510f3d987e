"""What must hold for every recorded run, whatever was done to the cluster."""

from __future__ import annotations

from loadtest.findings import Findings, figures_of
from loadtest.prove.proof import Proof


def require_sound(proof: Proof, found: Findings, prefix: str = "", *, conserved: bool = True) -> None:
    """Note the figures of a run, and require what players were promised. `conserved` False: the stores lost what they
    had promised to keep, and with it messages between shards.
    """
    for name, value in figures_of(found).items():
        proof.figure(prefix + name, value)
    for name, part in (("workers", found.audited), ("replay", found.replayed)):
        told = "; ".join(part.examples[:5])
        proof.require(part.mismatches == 0, f"{part.mismatches} pictures differ from the {name}: {told}")
        proof.require(part.entities > 0 and part.fields > 0, f"no entity was compared with the {name}")
        proof.require(len(part.bots) == found.bots, f"{len(part.bots)} of {found.bots} bots compared with the {name}")
        proof.require(
            len(part.whole_bots) == found.bots, f"{len(part.whole_bots)} of {found.bots} bots had a whole view"
        )
        proof.require(part.order_broken == 0, f"{part.order_broken} ticks came again or out of order: {told}")
        proof.require(part.epoch_broken == 0, f"{part.epoch_broken} ticks seen at another epoch than committed: {told}")
        proof.require(part.rule_broken == 0, f"{part.rule_broken} frames broke the protocol: {told}")
    proof.require(found.replayed.owns > 0, "no owner's values were compared")
    missing = sorted(found.replayed.missing)
    proof.require(not missing, f"{len(missing)} ticks were seen that the journal does not have: {missing[:5]}")
    proof.require(not found.journal_faults, f"journal: {found.journal_faults[:5]}")
    proof.require(not found.replay_faults, f"replay: {found.replay_faults[:5]}")
    account = found.account
    broken = f"{account.faults_count} faults of entities' whereabouts: {account.faults[:5]}"
    proof.require(not account.faults or not conserved, broken)
    proof.require(found.digests_compared > 0, "no digest was compared")
    proof.require(not found.doubles, f"{len(found.doubles)} inputs twice or out of order: {found.doubles[:3]}")
    proof.require(found.inputs.clean, f"inputs: {found.inputs.examples[:5] or 'none acked'}")
    proof.require(not found.endings, f"bots were closed: {dict(found.endings)}")
