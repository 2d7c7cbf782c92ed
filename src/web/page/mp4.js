// Reads what the player has to know of fragmented MP4: box boundaries, tracks and their codecs, keyframes.

const MAX_BOX_BYTES = 64 << 20;

/** Cuts bytes into whole top-level boxes (ISO 14496-12 §4.2). */
export class Boxes {
  #held = new Uint8Array(1 << 16);
  #length = 0;

  push(chunk) {
    const need = this.#length + chunk.length;
    if (need > this.#held.length) {
      const grown = new Uint8Array(Math.max(need, 2 * this.#held.length));
      grown.set(this.#held.subarray(0, this.#length));
      this.#held = grown;
    }
    this.#held.set(chunk, this.#length);
    this.#length = need;

    const boxes = [];
    let at = 0;
    for (; this.#length - at >= 8; ) {
      const head = boxHead(this.#held, at, this.#length);
      if (!head) break;
      if (head.size < head.header || head.size > MAX_BOX_BYTES) throw new Error('This is no fragmented MP4');
      if (this.#length - at < head.size) break;
      boxes.push({ type: head.type, bytes: this.#held.slice(at, at + head.size) });
      at += head.size;
    }
    this.#held.copyWithin(0, at, this.#length);
    this.#length -= at;
    return boxes;
  }
}

function boxHead(bytes, at, end) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
  let [size, header] = [view.getUint32(at), 8];
  if (size === 1) {
    if (end - at < 16) return null;
    [size, header] = [Number(view.getBigUint64(at + 8)), 16];
  }
  return { type, size, header };
}

function* children(bytes, at, end) {
  while (end - at >= 8) {
    const { type, size, header } = boxHead(bytes, at, end) ?? {};
    if (!(size >= header && at + size <= end)) return;
    yield { type, start: at + header, end: at + size };
    at += size;
  }
}

function child(bytes, box, ...path) {
  for (const type of path) {
    if (!box) return null;
    box = [...children(bytes, box.start, box.end)].find((b) => b.type === type);
  }
  return box;
}

/** The tracks of a `moov` box: id, units of time a second, whether video, and codec as RFC 6381 writes it. */
export function tracksOf(moov) {
  const tracks = [];
  const view = new DataView(moov.buffer, moov.byteOffset);
  const afterTimes = (box) => box.start + (moov[box.start] === 1 ? 20 : 12); // 64-bit times in version 1
  for (const trak of children(moov, 8, moov.length)) {
    if (trak.type !== 'trak') continue;
    const [tkhd, mdia] = [child(moov, trak, 'tkhd'), child(moov, trak, 'mdia')];
    const [mdhd, hdlr] = [child(moov, mdia, 'mdhd'), child(moov, mdia, 'hdlr')];
    const stsd = child(moov, mdia, 'minf', 'stbl', 'stsd');
    const entry = stsd && [...children(moov, stsd.start + 8, stsd.end)][0];
    if (!tkhd || !mdhd || !hdlr || !entry) continue;
    tracks.push({
      id: view.getUint32(afterTimes(tkhd)),
      timescale: view.getUint32(afterTimes(mdhd)),
      video: view.getUint32(hdlr.start + 8) === 0x76696465, // 'vide'
      codec: codecOf(moov, entry),
    });
  }
  return tracks;
}

const NOT_SYNC = 0x10000; // sample_is_non_sync_sample, ISO 14496-12 §8.8.3.1

/** Where decoding can start with a `moof`: its time in seconds, if it begins with a video keyframe; or null. */
export function keyTime(moof, tracks) {
  const view = new DataView(moof.buffer, moof.byteOffset);
  for (const traf of children(moof, 8, moof.length)) {
    if (traf.type !== 'traf') continue;
    const [tfhd, tfdt, trun] = ['tfhd', 'tfdt', 'trun'].map((type) => child(moof, traf, type));
    const track = tfhd && tracks.find((t) => t.video && t.id === view.getUint32(tfhd.start + 4));
    if (!track || !tfdt || !trun) continue;
    const [header, run] = [view.getUint32(tfhd.start) & 0xffffff, view.getUint32(trun.start) & 0xffffff];
    let flags = NOT_SYNC;
    if (run & 0x4) flags = view.getUint32(trun.start + (run & 0x1 ? 12 : 8));
    else if (run & 0x400) flags = view.getUint32(trun.start + 8 + 4 * bits(run & 0x301));
    else if (header & 0x20) flags = view.getUint32(tfhd.end - 4);
    if (flags & NOT_SYNC) continue;
    const time = moof[tfdt.start] ? Number(view.getBigUint64(tfdt.start + 4)) : view.getUint32(tfdt.start + 4);
    return time / track.timescale;
  }
  return null;
}

function bits(n) {
  let count = 0;
  for (; n; n &= n - 1) count++;
  return count;
}

function codecOf(bytes, entry) {
  const config = (type, skip) => {
    const box = child(bytes, { start: entry.start + skip, end: entry.end }, type);
    return box && bytes.subarray(box.start, box.end);
  };
  const picture = (type) => config(type, 78); // VisualSampleEntry
  const sound = (type) => config(type, 28); // AudioSampleEntry
  const hex = (n) => n.toString(16).padStart(2, '0');
  const two = (n) => String(n).padStart(2, '0');
  let c;
  switch (entry.type) {
    case 'avc1':
    case 'avc3':
      return (c = picture('avcC')) ? `${entry.type}.${hex(c[1])}${hex(c[2])}${hex(c[3])}` : entry.type;
    case 'hvc1':
    case 'hev1': {
      if (!(c = picture('hvcC'))) return entry.type;
      let compatible = 0; // ISO 14496-15 §E.3: the 32 flags, in reverse bit order
      for (let i = 0; i < 32; i++) if (c[2 + (i >> 3)] & (0x80 >> (i & 7))) compatible |= 1 << i;
      const limits = [...c.subarray(6, 12)];
      while (limits.length && !limits.at(-1)) limits.pop();
      const profile = ['', 'A', 'B', 'C'][c[1] >> 6] + (c[1] & 31);
      const level = (c[1] & 32 ? 'H' : 'L') + c[12];
      return [entry.type, profile, (compatible >>> 0).toString(16), level, ...limits.map((n) => n.toString(16))].join('.');
    }
    case 'av01': {
      if (!(c = picture('av1C'))) return entry.type;
      const [profile, high, twelve] = [c[1] >> 5, c[2] & 0x40, c[2] & 0x20];
      const depth = high ? (profile === 2 && twelve ? 12 : 10) : 8;
      return `av01.${profile}.${two(c[1] & 31)}${c[2] & 0x80 ? 'H' : 'M'}.${two(depth)}`;
    }
    case 'vp09':
      return (c = picture('vpcC')) ? `vp09.${two(c[4])}.${two(c[5])}.${two(c[6] >> 4)}` : entry.type;
    case 'mp4a':
      return (c = sound('esds')) ? `mp4a.${objectType(c.subarray(4))}` : 'mp4a.40.2';
    case 'Opus':
      return 'opus';
    case 'fLaC':
      return 'flac';
    case '.mp3':
      return 'mp3';
    default:
      return entry.type;
  }
}

/** Object type and audio object type of an ES descriptor (ISO 14496-1 §7.2.6.5). */
function objectType(es) {
  let at = 0;
  const descriptor = () => {
    const tag = es[at++];
    while (es[at++] & 0x80);
    return tag;
  };
  descriptor();
  const flags = es[at + 2];
  at += 3 + (flags & 0x80 ? 2 : 0);
  if (flags & 0x40) at += 1 + es[at];
  if (flags & 0x20) at += 2;
  descriptor();
  const type = es[at];
  if (type !== 0x40) return type.toString(16).toUpperCase();
  at += 13;
  descriptor();
  const audio = es[at] >> 3;
  return `40.${audio === 31 ? 32 + ((es[at] & 7) << 3) + (es[at + 1] >> 5) : audio || 2}`;
}

const NAMES = {
  avc1: 'H.264', avc3: 'H.264', hvc1: 'HEVC', hev1: 'HEVC', av01: 'AV1', vp09: 'VP9',
  mp4a: 'AAC', opus: 'Opus', mp3: 'MP3', flac: 'FLAC', 'ac-3': 'AC-3', 'ec-3': 'E-AC-3',
};

/** What people call a codec: "H.264" for avc1.64001f. */
export function codecName(codec) {
  if (/^mp4a\.(6b|69)$/i.test(codec)) return 'MP3';
  return NAMES[codec.split('.')[0]] ?? codec;
}
