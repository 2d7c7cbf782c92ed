//! Goal: the picture moves in a browser, near the live edge, with nothing but the server's own page.
//! Method: the real binary with its demo stream, and Debian's headless Chromium; what is asserted is what the
//! video element itself says: its time, its decoded frames, its buffer.

mod support;

use support::chromium::Chromium;
use support::http::get;
use support::server::{Server, Setup};
use support::{PATIENCE, wait_for};

const STATE: &str = "JSON.stringify({ phase: document.getElementById('stage')?.dataset.phase, \
    word: document.getElementById('word')?.textContent, time: document.getElementById('video')?.currentTime })";
const VIDEO: &str = "document.getElementById('video')";
const PLAYING: &str = "document.getElementById('stage')?.dataset.phase === 'playing'";

#[test]
fn the_demo_plays_in_a_browser_near_the_live_edge() {
    let server = start();
    let mut browser = Chromium::open(&server.http("/"));
    browser.wait_for(PLAYING, PATIENCE, STATE);
    let frames = format!("{VIDEO}.getVideoPlaybackQuality().totalVideoFrames");
    // Past the jump that follows the burst of the first GOP.
    browser.wait_for(&format!("{frames} > 40"), PATIENCE, STATE);
    let time_before = browser.evaluate(&format!("{VIDEO}.currentTime")).as_f64().unwrap();
    let frames_before = browser.evaluate(&frames).as_f64().unwrap();
    browser.wait_for(&format!("{VIDEO}.currentTime >= {}", time_before + 2.0), PATIENCE, STATE);
    let decoded = browser.evaluate(&frames).as_f64().unwrap() - frames_before;
    assert!(decoded >= 30.0, "{decoded} frames decoded in 2 s of 25 fps");

    let latency = format!("{VIDEO}.buffered.end({VIDEO}.buffered.length - 1) - {VIDEO}.currentTime");
    let latency_s = browser.evaluate(&latency).as_f64().unwrap();
    assert!(latency_s < 2.0, "{latency_s} s behind the newest picture");
    assert_eq!(browser.evaluate(&format!("{VIDEO}.videoWidth")), 640);
    assert_eq!(browser.evaluate(&format!("{VIDEO}.muted")), true);
    let codec = "document.getElementById('codec').textContent === 'H.264 + AAC'";
    browser.wait_for(codec, PATIENCE, "document.getElementById('facts').textContent");
    let url = "document.querySelector('#urls code').textContent";
    assert_eq!(browser.evaluate(url), server.rtmp("demo"));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_codec_the_browser_lacks_is_named() {
    let server = start();
    let mut browser = Chromium::open(&server.http("/_live/"));
    browser.wait_for(PLAYING, PATIENCE, STATE);
    // Stands in for a browser without H.264: the page asks nothing but this.
    browser.evaluate("MediaSource.isTypeSupported = (mime) => !mime.includes('avc1')");
    browser.evaluate("document.querySelector('#list button').click()");
    let word = "document.getElementById('word').textContent";
    browser.wait_for(&format!("{word}.includes('cannot play H.264 (avc1.')"), PATIENCE, STATE);
    let marked = "document.getElementById('list').textContent.includes('H.264: not in this browser')";
    browser.wait_for(marked, PATIENCE, STATE);
}

#[test]
fn the_page_hands_on_what_opens_a_stream() {
    let auth = "[vhost.__defaultVhost__.auth]\nenabled = true\nplay = \"key\"\nkey.play = \"play-key-789\"\n";
    let server = Setup::new(1).top("demo = true").tables(auth).start();
    let mut browser = Chromium::open(&server.http("/_live/"));
    wait_for("the refusal", || server.log().contains("key: nothing was shown").then_some(()));
    assert_eq!(browser.evaluate(PLAYING), false);
    let mut browser = Chromium::open(&server.http("/_live/?key=play-key-789"));
    browser.wait_for(PLAYING, PATIENCE, STATE);
    let urls = browser.evaluate("document.getElementById('urls').textContent");
    assert!(!urls.to_string().contains("play-key"), "what is to be copied and passed on has no key: {urls}");
    let told = get(server.api_at(), "/api/v1/clients/").text().to_owned() + &server.log();
    assert!(told.contains("/_live/?key=***") && !told.contains("play-key"), "{told}");
}

/// With the demo on.
fn start() -> Server {
    Setup::new(1).top("demo = true").start()
}
