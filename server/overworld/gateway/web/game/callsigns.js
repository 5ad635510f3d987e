/** Names and colours for ships, made from their ids: everybody sees the same ones. */

const FIRST = [
  'Amber', 'Ashen', 'Blue', 'Brisk', 'Calm', 'Cinder', 'Copper', 'Distant', 'Dusty', 'Early', 'Ember', 'Faint', 'Far', 'Gilded',
  'Grey', 'Hollow', 'Indigo', 'Ivory', 'Jade', 'Keen', 'Last', 'Lone', 'Lucid', 'Mellow', 'Misty', 'Night', 'North', 'Ochre',
  'Pale', 'Quiet', 'Rapid', 'Red', 'Restless', 'Rust', 'Silent', 'Silver', 'Slow', 'Solar', 'South', 'Steady', 'Stray', 'Swift',
  'Tidal', 'Umber', 'Velvet', 'Violet', 'Wild', 'Winter',
] // prettier-ignore

const LAST = [
  'Anvil', 'Arrow', 'Badger', 'Beacon', 'Comet', 'Condor', 'Crane', 'Drifter', 'Echo', 'Falcon', 'Finch', 'Fox', 'Gull', 'Harrier',
  'Heron', 'Ibis', 'Jackal', 'Kestrel', 'Lantern', 'Lark', 'Lynx', 'Magpie', 'Marten', 'Meteor', 'Moth', 'Nomad', 'Osprey',
  'Otter', 'Owl', 'Pilgrim', 'Pike', 'Raven', 'Rook', 'Sable', 'Shrike', 'Skua', 'Sparrow', 'Starling', 'Stoat', 'Swallow', 'Swan',
  'Tern', 'Thrush', 'Vagrant', 'Viper', 'Warden', 'Wren', 'Wolf',
] // prettier-ignore

/** Hues that keep apart from the player's own cyan, the drones' red and each other. */
const HUES = [38, 52, 88, 138, 212, 232, 258, 282, 312, 334]

/** A well-mixed 32-bit number (the finalizer of MurmurHash3). @param {number} id @returns {number} */
function mixed(id) {
  let h = (id ^ (id / 2 ** 32)) >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** @param {number} id @returns {string} */
export function callsignOf(id) {
  const h = mixed(id)
  return `${FIRST[h % FIRST.length]} ${LAST[(h >>> 8) % LAST.length]}`
}

/** @param {number} id @returns {number} degrees */
export function hueOf(id) {
  return HUES[(mixed(id) >>> 20) % HUES.length]
}
