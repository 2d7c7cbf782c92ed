// Plays a live fragmented MP4 over fetch and Media Source, close to the live edge.
//
// The body is cut into whole boxes. `ftyp`+`moov` are an init, `moof`+`mdat` a fragment; only whole ones are
// appended. The init says which codecs there are: nothing else is asked.

const LOW_WATER_S = 0.3; // the least that should be buffered when the next fragment comes
const LOW_WATER_MAX_S = 1.2; // how far underruns may raise that
const JUMP_S = 3; // further behind than this: jump to the live edge
const SETTLE_MS = 600; // the burst of the first GOP is over by then: one jump if it left us behind
const SETTLE_S = 0.8;
const KEEP_S = 10; // played media kept for the decoder
const RETRY_MS = [250, 5000]; // first and longest pause before the stream is opened again
const SILENCE_MS = 10000; // a body that flowed and then says nothing is opened again
const STEADY_MS = 5000; // a session that lasted this long was a good one: the next retry is quick
const MAX_BOX_BYTES = 64 << 20;
const UNDECODABLE = 'This browser could not decode the stream';

const Media = window.MediaSource ?? window.ManagedMediaSource; // the latter is all that iPhones have

class Unsupported extends Error {}

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

const mimeOf = (codecs) => `video/mp4; codecs="${codecs.join(',')}"`;

/** Those of some codecs that this browser cannot play. */
export const unplayable = (codecs) => codecs.filter((codec) => !Media?.isTypeSupported(mimeOf([codec])));

const settled = (target, event, signal) =>
  new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const done = new AbortController();
    const once = { once: true, signal: done.signal };
    target.addEventListener(event, () => (done.abort(), resolve()), once);
    signal.addEventListener('abort', () => (done.abort(), reject(signal.reason)), once);
  });

/** One MediaSource with one SourceBuffer: takes inits and fragments, one at a time. */
class Sink {
  static async open(video, codecs, signal) {
    const media = new Media();
    const url = URL.createObjectURL(media);
    const opened = settled(media, 'sourceopen', signal);
    video.src = url;
    await opened;
    URL.revokeObjectURL(url);
    const sink = new Sink();
    Object.assign(sink, { video, signal, codecs, hasVideo: false, keys: [] });
    sink.buffer = media.addSourceBuffer(mimeOf(codecs));
    media.duration = Infinity;
    return sink;
  }

  async append(bytes) {
    try {
      await this.#update((buffer) => buffer.appendBuffer(bytes));
    } catch (error) {
      if (error.name !== 'QuotaExceededError') throw error;
      await this.#forgetBefore(this.video.currentTime);
      await this.#update((buffer) => buffer.appendBuffer(bytes)); // full still: the session ends, and starts anew
    }
    const { buffered } = this.buffer;
    const now = this.video.currentTime;
    if (buffered.length && now - buffered.start(0) > 1.5 * KEEP_S) await this.#forgetBefore(now - KEEP_S);
  }

  // remove() takes everything up to the next keyframe, so it may only be told to stop at one: otherwise it
  // takes the pictures being played.
  async #forgetBefore(end) {
    if (this.hasVideo) {
      while (this.keys.length > 1 && this.keys[1] <= end) this.keys.shift();
      end = this.keys[0] <= end ? this.keys[0] - 0.005 : 0;
    }
    const { buffered } = this.buffer;
    if (buffered.length && buffered.start(0) < end) await this.#update((buffer) => buffer.remove(0, end));
  }

  changeType(codecs) {
    if (String(codecs) === String(this.codecs)) return;
    this.buffer.changeType(mimeOf(codecs));
    this.codecs = codecs;
  }

  async #update(change) {
    const ended = settled(this.buffer, 'updateend', this.signal);
    ended.catch(() => {}); // `change` may throw first, and then nobody waits
    try {
      change(this.buffer);
      await ended;
    } catch (error) {
      throw this.video.error ? new Error(UNDECODABLE) : error;
    }
  }
}

/**
 * Keeps one live stream playing in a video element. `report(phase, word)` is called when something changes:
 * 'connecting', 'playing', 'blocked' (the browser wants a click first), 'away' (it will be opened again) or
 * 'unsupported' (it will not).
 */
export class LivePlayer {
  codecs = [];
  openedAt = null; // when the first fragments of this session were in
  heardAt = null; // when its last bytes came
  settled = false; // whether the burst of the first GOP is over
  #video;
  #report;
  #run = null;
  #session = null;
  #bytes = 0;
  #floor = LOW_WATER_S;
  #lows = [];
  #last = null;

  constructor(video, report) {
    this.#video = video;
    this.#report = report;
    video.disableRemotePlayback = true; // ManagedMediaSource asks for it
    video.addEventListener('waiting', () => this.#underrun());
    video.addEventListener('playing', () => this.#run && this.#report('playing', ''));
    video.addEventListener('error', () => this.#session?.abort(new Error(UNDECODABLE)));
    setInterval(() => this.#steer(), 250);
  }

  get isOpen() {
    return this.#run !== null;
  }

  open(url) {
    this.close();
    this.#run = new AbortController();
    this.#keepOpen(url, this.#run.signal);
  }

  close() {
    this.#run?.abort(new Error('closed'));
    this.#run = null;
  }

  async #keepOpen(url, signal) {
    let pause = RETRY_MS[0];
    while (!signal.aborted) {
      let word = 'The stream has ended';
      const session = new AbortController();
      const leave = () => session.abort(signal.reason);
      signal.addEventListener('abort', leave);
      try {
        this.#report('connecting', '');
        this.#session = session;
        this.openedAt = this.heardAt = null;
        this.settled = false;
        await this.#playOnce(url, session.signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Unsupported) return this.#report('unsupported', error.message);
        word = error instanceof TypeError ? 'The server does not answer' : error.message;
      } finally {
        signal.removeEventListener('abort', leave);
        session.abort(new Error('over'));
      }
      this.#report('away', word);
      if (this.openedAt && performance.now() - this.openedAt > STEADY_MS) pause = RETRY_MS[0];
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(2 * pause, RETRY_MS[1]);
    }
  }

  async #playOnce(url, signal) {
    const response = await fetch(url, { signal, cache: 'no-store' });
    if (!response.ok) throw new Error(response.status === 404 ? 'The stream is not live' : `HTTP ${response.status}`);
    const boxes = new Boxes();
    const body = response.body.getReader();
    let [sink, init, tracks, fragments, moof] = [null, [], [], [], null];
    const flush = async () => {
      if (!fragments.length) return;
      this.#noteLow();
      const joined = join(fragments);
      fragments = [];
      await sink.append(joined);
      this.#start();
    };
    for (;;) {
      const { done, value } = await body.read();
      if (done) return;
      this.#bytes += value.length;
      if (this.openedAt) this.heardAt = performance.now();
      for (const { type, bytes } of boxes.push(value)) {
        if (type === 'ftyp') init = [bytes];
        else if (type === 'moov') {
          await flush();
          tracks = tracksOf(bytes);
          sink = await this.#init(sink, [...init, bytes], tracks, signal);
        } else if (type === 'moof') moof = bytes;
        else if (type === 'mdat' && moof && sink) {
          const key = keyTime(moof, tracks);
          if (key !== null) sink.keys.push(key);
          fragments.push(moof, bytes);
          moof = null;
        }
      }
      await flush();
    }
  }

  async #init(sink, init, tracks, signal) {
    const codecs = tracks.map((track) => track.codec);
    const refused = unplayable(codecs);
    if (!Media) throw new Unsupported('live video, for it has no Media Source');
    if (!codecs.length) throw new Error('The stream has no track');
    if (refused.length) throw new Unsupported(refused.map((c) => `${codecName(c)} (${c})`).join(' and '));
    this.codecs = codecs;
    if (sink) sink.changeType(codecs);
    else sink = await Sink.open(this.#video, codecs, signal);
    sink.hasVideo = tracks.some((track) => track.video);
    await sink.append(join(init));
    return sink;
  }

  // The first fragments are in: go to them, and play.
  #start() {
    if (this.openedAt || !this.#video.buffered.length) return;
    this.openedAt = performance.now();
    this.#floor = LOW_WATER_S;
    this.#lows = [];
    this.#video.currentTime = this.#video.buffered.start(0);
    this.#video.play().catch((error) => error.name === 'NotAllowedError' && this.#report('blocked', ''));
  }

  /** Seconds between what is shown and the newest that is there. */
  get latency() {
    const { buffered, currentTime } = this.#video;
    return buffered.length ? Math.max(0, buffered.end(buffered.length - 1) - currentTime) : 0;
  }

  #noteLow() {
    const now = performance.now();
    this.#lows = this.#lows.filter((low) => now - low.at < 1000);
    this.#lows.push({ at: now, latency: this.latency });
  }

  #underrun() {
    if (this.settled && !this.#video.seeking) this.#floor = Math.min(this.#floor + 0.15, LOW_WATER_MAX_S);
  }

  // Steers by the low water mark, not by the mean: a server that sends in bursts needs the room between them.
  #steer() {
    const video = this.#video;
    const now = performance.now();
    if (this.#session && this.heardAt && now - this.heardAt > SILENCE_MS) {
      this.heardAt = null;
      this.#session.abort(new Error('The stream has fallen silent'));
    }
    const { buffered } = video;
    if (!this.openedAt || !buffered.length || video.paused) return;
    this.#floor = Math.max(LOW_WATER_S, this.#floor - 0.002);

    for (let i = 0; i < buffered.length; i++) {
      const start = buffered.start(i);
      if (video.currentTime < start) {
        if (i === 0 || video.readyState < 3) video.currentTime = start; // a hole: over it
        break;
      }
      if (video.currentTime <= buffered.end(i)) break;
    }
    const settling = !this.settled && now - this.openedAt > SETTLE_MS;
    if (settling) this.settled = true;
    if (this.latency > (settling ? SETTLE_S : JUMP_S)) return this.toLive();
    if (!this.#lows.length) return;
    const ahead = Math.min(...this.#lows.map((low) => low.latency)) - this.#floor;
    const rate = Math.abs(ahead) < 0.08 ? 1 : Math.min(1.05, Math.max(0.97, 1 + ahead / 10));
    video.playbackRate = Math.round(rate * 100) / 100;
  }

  /** Jumps to the live edge. */
  toLive() {
    const { buffered } = this.#video;
    if (!buffered.length) return;
    const last = buffered.length - 1;
    this.#video.currentTime = Math.max(buffered.start(last), buffered.end(last) - this.#floor - 0.1);
    this.#lows = [];
  }

  /** What happened since the last call: frames and bits a second, and the latency now. */
  sample() {
    const at = performance.now();
    const { totalVideoFrames: frames, droppedVideoFrames: dropped } = this.#video.getVideoPlaybackQuality();
    const [now, last] = [{ at, frames, bytes: this.#bytes }, this.#last];
    this.#last = now;
    const seconds = last ? (at - last.at) / 1000 : 0;
    const per = (key) => (seconds > 0 ? Math.max(0, now[key] - last[key]) / seconds : 0);
    return { fps: per('frames'), kbps: (per('bytes') * 8) / 1000, latency: this.latency, dropped };
  }
}

function join(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
