// The page around the player: the list of live streams, the facts of the one being watched, and its URLs.

import { codecName } from '/_live/mp4.js';
import { LivePlayer, unplayable } from '/_live/player.js';

const REFRESH_MS = 2000;
const HIDDEN_MS = 5000; // a muted player nobody sees is closed after this
const DEFAULT_VHOST = '__defaultVhost__';

const $ = (id) => document.getElementById(id);
const [video, stage] = [$('video'), $('stage')];
let streams = []; // as the server listed them last
let listed = false;
let rtmpPort = 1935;
let watched = hashed(); // the stream's path, '' for none yet
let phase = '';

const player = new LivePlayer(video, (to, word) => {
  phase = to;
  stage.dataset.phase = to;
  $('play').hidden = to !== 'blocked' && to !== 'paused';
  $('word').textContent = {
    connecting: 'Waiting for the stream …',
    away: `${word}. Trying again …`,
    unsupported: `This browser cannot play ${word}. The addresses below work in ffplay or VLC.`,
  }[to] ?? '';
});

// The stream that the address names: a path of this server, nothing else.
function hashed() {
  try {
    return /^#(\/[^/].*\.live\.mp4(\?.*)?)$/.exec(decodeURI(location.hash))?.[1] ?? '';
  } catch {
    return '';
  }
}

function element(tag, properties, ...inside) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside);
  return made;
}

const label = (s) => (s.vhost === DEFAULT_VHOST ? '' : `${s.vhost} / `) + `${s.app} / ${s.name}`;
const kbps = (n) => (n >= 1000 ? `${(n / 1000).toFixed(1)} Mbit/s` : `${Math.round(n)} kbit/s`);
const plural = (n, one) => `${n} ${one}${n === 1 ? '' : 's'}`;
const codecsIn = (s) => (s.codecs || '').split(',').filter(Boolean);

// --- the list

async function refresh() {
  try {
    const answer = await fetch('/_live/streams.json', { cache: 'no-store' });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    rtmpPort = Number(answer.headers.get('X-RTMP-Port')) || rtmpPort;
    streams = await answer.json();
    listed = true;
    $('summary').textContent = streams.length ? `${plural(streams.length, 'stream')} live` : 'No stream is live';
    const first = streams.find((s) => s.url);
    if (!watched && first) watch(first.url);
    reconsider();
    $('summary').dataset.live = streams.length > 0;
  } catch {
    $('summary').dataset.live = false;
    $('summary').textContent = 'The server does not answer';
  }
  render();
  setTimeout(refresh, REFRESH_MS);
}

// A stream published anew is opened at once: one that was away, and one that was not supported, which may
// have other codecs now.
let seen = null;
function reconsider() {
  const now = streams.find((s) => s.url === watched);
  const anew = now && (!seen || now.codecs !== seen.codecs || now.since_ms < seen.since_ms);
  seen = now ?? null;
  if (anew && (phase === 'unsupported' || phase === 'away')) player.open(opened(watched));
}

function render() {
  const live = streams.find((s) => s.url === watched);
  document.body.dataset.state = !listed ? 'loading' : streams.length || watched ? 'live' : 'empty';
  $('watch').hidden = $('elsewhere').hidden = !watched;
  $('invite').textContent = document.body.dataset.state === 'empty' ? 'Nothing is live yet' : 'Publish';
  $('streams').hidden = !streams.length;

  const items = streams.map((s) => {
    const refused = unplayable(codecsIn(s)).map(codecName);
    const picture = s.height ? `${s.width}×${s.height}` : 'audio only';
    const facts = [codecsIn(s).map(codecName).join(' + '), picture, kbps(s.kbps), plural(s.viewers, 'viewer')];
    const button = element('button', { type: 'button', disabled: !s.url, onclick: () => watch(s.url) },
      element('strong', { textContent: label(s) }),
      element('span', { textContent: facts.filter(Boolean).join(' · ') }));
    if (refused.length) button.append(element('em', { textContent: `${refused.join(', ')}: not in this browser` }));
    if (!s.url) button.append(element('em', { textContent: 'not served as .live.mp4 (http_remux.mount)' }));
    if (s.url && s.url === watched) button.setAttribute('aria-current', 'true');
    return element('li', {}, button);
  });
  // Rebuilt only if something changed, so that focus and selection stay where they are.
  const html = items.map((i) => i.outerHTML).join('');
  if ($('list').dataset.html !== html) {
    const focused = [...$('list').children].findIndex((li) => li.contains(document.activeElement));
    $('list').replaceChildren(...items);
    $('list').dataset.html = html;
    $('list').children[focused]?.firstChild.focus();
  }

  const name = live ? label(live) : watched.replace(/^\//, '').replace(/\.live\.mp4$/, '').replaceAll('/', ' / ');
  $('title').textContent = name;
  document.title = watched ? `${name} – srs-shard` : 'Live – srs-shard';
  $('viewers').textContent = live ? `${live.viewers}` : '–';
  renderUrls(live);
}

// --- addresses to copy

const rtmpBase = () => `rtmp://${location.hostname}${rtmpPort === 1935 ? '' : `:${rtmpPort}`}`;

function renderUrls(live) {
  const http = (path) => new URL(path, location.href).href;
  const [path, query] = watched.split('?');
  const other = (ending) => http(path.replace(/\.live\.mp4$/, ending) + (query ? `?${query}` : ''));
  const vhost = live && live.vhost !== DEFAULT_VHOST ? `?vhost=${encodeURIComponent(live.vhost)}` : '';
  const rtmp = live ? `/${live.app}/${live.name}` : path.replace(/\.live\.mp4$/, '');
  lines($('urls'), [
    ['RTMP', `${rtmpBase()}${rtmp}${vhost}`],
    ['FLV', live?.flv ? http(live.flv) : other('.flv')],
    ['TS', other('.ts')],
    ['MP4', http(watched)],
  ]);
  lines($('command'), [['ffmpeg', `ffmpeg -re -i your.mp4 -c copy -f flv ${rtmpBase()}/live/mine`]]);
  $('obs').textContent = `${rtmpBase()}/live`;
}

function lines(list, rows) {
  const key = JSON.stringify(rows);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...rows.map(([name, text]) => {
    const code = element('code', { textContent: text });
    const button = element('button', { type: 'button', textContent: 'Copy', onclick: () => copy(code, button) });
    button.setAttribute('aria-label', `Copy the ${name} line`);
    return element('li', {}, element('span', { textContent: name }), code, button);
  }));
}

// The clipboard is for secure pages only; on plain HTTP the old way is the way.
async function copy(code, button) {
  let copied = false;
  try {
    await navigator.clipboard.writeText(code.textContent);
    copied = true;
  } catch {
    getSelection().selectAllChildren(code);
    copied = document.execCommand('copy');
  }
  button.textContent = copied ? 'Copied' : 'Selected';
  setTimeout(() => (button.textContent = 'Copy'), 1500);
}

// --- the player's controls

// What opens a stream (a key, a token) stands in the page's own query, and goes along with what it asks for.
const opened = (url) => url + (location.search && (url.includes('?') ? '&' : '?') + location.search.slice(1));

function watch(url) {
  watched = url;
  history.replaceState(null, '', `#${encodeURI(url)}`);
  player.open(opened(url));
  render();
}

function pause() {
  player.close();
  video.pause();
  phase = stage.dataset.phase = 'paused';
  $('word').textContent = '';
  $('play').hidden = false;
}

const resume = () => (phase === 'blocked' ? video.play() : player.open(opened(watched)));
const sound = () => {
  $('mute').textContent = video.muted ? 'Unmute' : 'Mute';
  stage.dataset.muted = video.muted;
};

$('play').onclick = resume;
video.onclick = () => (phase === 'playing' ? pause() : phase === 'paused' && resume());
$('mute').onclick = () => (video.muted = !video.muted);
$('full').onclick = () => (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen());
video.onvolumechange = sound;
sound();
if (!stage.requestFullscreen) $('full').hidden = true;

// Nobody looks and nobody listens: leave. Whoever comes back is put at the live edge.
let leaving = 0;
let left = false;
document.onvisibilitychange = () => {
  clearTimeout(leaving);
  if (document.hidden) {
    leaving = setTimeout(() => {
      left = video.muted && player.isOpen;
      if (left) player.close();
    }, HIDDEN_MS);
  } else if (left) {
    left = false;
    player.open(opened(watched));
  } else if (phase === 'playing') player.toLive();
};
onhashchange = () => {
  const to = hashed();
  if (to && to !== watched) watch(to);
};

setInterval(() => {
  const { fps, kbps: rate, latency, dropped } = player.sample();
  const playing = phase === 'playing';
  const show = (id, text) => ($(id).textContent = playing && text ? text : '–');
  show('latency', `${latency.toFixed(2)} s`);
  show('fps', fps ? `${fps.toFixed(0)} fps${dropped ? `, ${dropped} dropped` : ''}` : '');
  show('kbps', kbps(rate));
  show('size', video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : '');
  show('codec', player.codecs.map(codecName).join(' + '));
  $('codec').title = player.codecs.join(', ');
}, 1000);

if (watched) player.open(opened(watched));
refresh();
