"""Makes server/overworld/wire/v1/*_pb2.py and .pyi from proto/overworld/wire/v1/*.proto, and the JavaScript client's
tables (clients/js/src/schema.js) from client.proto.

`python proto/generate.py` writes them; `python proto/generate.py --check` makes them in a temporary folder instead and
compares, so that a change of a .proto without its generated code does not go unnoticed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "proto"
SERVER = ROOT / "server"
PATTERNS = ("*_pb2.py", "*_pb2.pyi")
CLIENT_PROTO = "overworld/wire/v1/client.proto"
JAVASCRIPT = ROOT / "clients" / "js" / "src" / "schema.js"
SCALARS = ("uint32", "sint32", "uint53", "uint64", "bool", "string", "blob", "uint32s", "sint32s", "uint53s")
DECIMAL = frozenset({"Welcome.session"})
"""64-bit fields of which a client needs every bit: text in JavaScript. All others must fit a number exactly."""


def generate(into: Path) -> None:
    """Run protoc for every .proto of the repository; paths below `into` mirror those below proto/."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    plugin = shutil.which("protoc-gen-mypy", path=str(Path(sys.executable).parent))
    if plugin is None:
        raise SystemExit("proto: protoc-gen-mypy is not installed beside this Python; run `make setup`")
    arguments = [
        "protoc",
        f"--proto_path={PROTOS}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--plugin=protoc-gen-mypy={plugin}",
        f"--python_out={into}",
        f"--mypy_out=quiet:{into}",
        *sources,
    ]
    status = protoc.main(arguments)
    if status != 0:
        raise SystemExit(f"proto: protoc ended with status {status}")


def generated(root: Path) -> dict[str, bytes]:
    """Contents of the generated files below `root`, by relative path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for pattern in PATTERNS
        for path in sorted((root / "overworld").rglob(pattern))
    }


def stale() -> list[str]:
    """What differs from what the .proto files generate now: paths below server/, and the JavaScript tables."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh, committed = generated(Path(folder)), generated(SERVER)
    wrong = sorted(path for path in fresh.keys() | committed.keys() if fresh.get(path) != committed.get(path))
    if not JAVASCRIPT.is_file() or JAVASCRIPT.read_text(encoding="utf-8") != javascript():
        wrong.append(str(JAVASCRIPT.relative_to(ROOT)))
    return wrong


# ---------------------------------------------------------------- the JavaScript client's tables


def javascript() -> str:
    """Contents of schema.js: for every message its type, and each field's number and scalar type."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "client.binpb"
        if protoc.main(["protoc", f"--proto_path={PROTOS}", f"--descriptor_set_out={target}", CLIENT_PROTO]) != 0:
            raise SystemExit(f"proto: protoc cannot read {CLIENT_PROTO}")
        (file,) = FileDescriptorSet.FromString(target.read_bytes()).file
    messages = {message.name: message for message in file.message_type}
    parts = [
        "/** Generated from `proto/overworld/wire/v1/client.proto` by `make proto`: do not edit. */",
        f"/** @typedef {{{' | '.join(repr(name) for name in SCALARS)}}} Scalar */",
        "/** Field numbers and types by name. @typedef {{[name: string]: [number, Scalar | Table, 'many'?]}} Table */",
    ]
    done: list[str] = []
    while len(done) < len(messages):
        # A table stands below those it is made of.
        ready = [n for n, m in messages.items() if n not in done and _made_of(m) <= set(done)]
        parts += [_table(messages[name]) for name in ready]
        done += ready
    parts += [_codes(enum) for message in file.message_type for enum in message.enum_type]
    return "\n\n".join(parts) + "\n"


def _made_of(message: DescriptorProto) -> set[str]:
    return {f.type_name.rsplit(".", 1)[-1] for f in message.field if f.type == FieldDescriptorProto.TYPE_MESSAGE}


def _table(message: DescriptorProto) -> str:
    types, rows = [], []
    for field in message.field:
        many = field.label == FieldDescriptorProto.LABEL_REPEATED
        kind, javascript_type = _kind(message.name, field, many)
        types.append(f"{field.name}: {javascript_type}")
        tail = ", 'many'" if many and field.type == FieldDescriptorProto.TYPE_MESSAGE else ""
        rows.append(f"  {field.name}: [{field.number}, {kind}{tail}],")
    shape = f"{{{', '.join(types)}}}" if types else "Record<string, never>"
    told = f"/** @typedef {{{shape}}} {message.name} */"
    head = f"export const {_constant(message.name)} = /** @satisfies {{Table}} */ (/** @type {{const}} */ ({{"
    return "\n".join([told, head, *rows, "}))"]).replace("({\n}))", "({}))")


def _kind(message: str, field: FieldDescriptorProto, many: bool) -> tuple[str, str]:
    """What the field is in the table, and its type in JavaScript."""
    plain = FieldDescriptorProto
    if field.type == plain.TYPE_MESSAGE:
        name = field.type_name.rsplit(".", 1)[-1]
        return _constant(name), f"{name}[]" if many else name
    scalars = {
        plain.TYPE_UINT32: ("uint32", "number"),
        plain.TYPE_ENUM: ("uint32", "number"),
        plain.TYPE_SINT32: ("sint32", "number"),
        plain.TYPE_UINT64: ("uint53", "number"),
        plain.TYPE_BOOL: ("bool", "boolean"),
        plain.TYPE_STRING: ("string", "string"),
        plain.TYPE_BYTES: ("blob", "Uint8Array"),
    }
    scalar, type_name = scalars[field.type]
    if f"{message}.{field.name}" in DECIMAL:
        scalar, type_name = "uint64", "string"
    return (f"'{scalar}s'", f"{type_name}[]") if many else (f"'{scalar}'", type_name)


def _codes(enum: EnumDescriptorProto) -> str:
    """The values of an enum by name, without its zero and its prefix."""
    values = [f"{v.name.removeprefix('CODE_')}: {v.number}" for v in enum.value if v.number]
    return f"export const NOTICE_CODES = {{ {', '.join(values)} }}"


def _constant(name: str) -> str:
    """TickHead -> TICK_HEAD."""
    return "".join(f"_{c}" if c.isupper() and i else c.upper() for i, c in enumerate(name))


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        if wrong := stale():
            raise SystemExit(f"proto: not what the .proto files generate: {', '.join(wrong)}; run `make proto`")
        print("proto: generated code is fresh")
    elif not sys.argv[1:]:
        for path in generated(SERVER):
            (SERVER / path).unlink()
        generate(SERVER)
        JAVASCRIPT.write_text(javascript(), encoding="utf-8")
        print(f"proto: wrote {len(generated(SERVER))} files below server/overworld/wire/v1, and schema.js")
    else:
        raise SystemExit("usage: generate.py [--check]")


if __name__ == "__main__":
    main()
