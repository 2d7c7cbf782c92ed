// Plays a live fragmented MP4 over fetch and Media Source, close to the live edge.
//
// The body is cut into whole boxes. `ftyp`+`moov` are an init, `moof`+`mdat` a fragment; only whole ones are
// appended. The init says which codecs there are: nothing else is asked.

import { Boxes, codecName, keyTime, tracksOf } from '/_live/mp4.js';

const LOW_WATER_S = 0.3; // the least that should be buffered when the next fragment comes
const LOW_WATER_MAX_S = 1.2; // how far underruns may raise that
const JUMP_S = 3; // further behind than this: jump to the live edge
const SETTLE_MS = 600; // the burst of the first GOP is over by then: one jump if it left us behind
const SETTLE_S = 0.8;
const KEEP_S = 10; // played media kept for the decoder
const RETRY_MS = [250, 5000]; // first and longest pause before the stream is opened again
const SILENCE_MS = 10000; // a body that flowed and then says nothing is opened again
const STEADY_MS = 5000; // a session that lasted this long was a good one: the next retry is quick
const UNDECODABLE = 'This browser could not decode the stream';

const Media = window.MediaSource ?? window.ManagedMediaSource; // the latter is all that iPhones have

class Unsupported extends Error {}

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
