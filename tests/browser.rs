//! Goal: the picture moves in a browser, near the live edge, with nothing but the server's own page.
//! Method: the real binary with its demo stream, and Debian's headless Chromium; what is asserted is what the
//! video element itself says: its time, its decoded frames, its buffer.

#[path = "support/chromium.rs"]
mod chromium;

use chromium::Chromium;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

const PATIENCE: Duration = Duration::from_secs(20);
const STATE: &str = "JSON.stringify({ phase: document.getElementById('stage')?.dataset.phase, \
    word: document.getElementById('word')?.textContent, time: document.getElementById('video')?.currentTime })";
const VIDEO: &str = "document.getElementById('video')";
const PLAYING: &str = "document.getElementById('stage')?.dataset.phase === 'playing'";

#[test]
fn the_demo_plays_in_a_browser_near_the_live_edge() {
    let server = Server::start();
    let mut browser = Chromium::open(&server.url("/"));
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
    assert_eq!(browser.evaluate(url), format!("rtmp://127.0.0.1:{}/live/demo", server.rtmp_port));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_codec_the_browser_lacks_is_named() {
    let server = Server::start();
    let mut browser = Chromium::open(&server.url("/_live/"));
    browser.wait_for(PLAYING, PATIENCE, STATE);
    // Stands in for a browser without H.264: the page asks nothing but this.
    browser.evaluate("MediaSource.isTypeSupported = (mime) => !mime.includes('avc1')");
    browser.evaluate("document.querySelector('#list button').click()");
    let word = "document.getElementById('word').textContent";
    browser.wait_for(&format!("{word}.includes('cannot play H.264 (avc1.')"), PATIENCE, STATE);
    let marked = "document.getElementById('list').textContent.includes('H.264: not in this browser')";
    browser.wait_for(marked, PATIENCE, STATE);
}

/// The real server with the demo on, on ports of its own.
struct Server {
    child: Child,
    config: PathBuf,
    rtmp_port: u16,
    http_port: u16,
}

impl Server {
    fn start() -> Server {
        let [rtmp_port, http_port] = free_ports();
        let config = std::env::temp_dir().join(format!("srs-shard-browser-{http_port}.toml"));
        let toml = format!(
            "listen = [\"127.0.0.1:{rtmp_port}\"]\n\
             demo = true\n\
             [http_server]\n\
             enabled = true\n\
             listen = [\"127.0.0.1:{http_port}\"]\n\
             [vhost.__defaultVhost__.http_remux]\n\
             enabled = true\n\
             mount = [\"[vhost]/[app]/[stream].flv\", \"[vhost]/[app]/[stream].live.mp4\"]\n"
        );
        fs::write(&config, toml).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_srs-shard"))
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut server = Server { child, config, rtmp_port, http_port };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", http_port)).is_err() {
            if let Ok(Some(status)) = server.child.try_wait() {
                panic!("the server ended: {status}");
            }
            assert!(Instant::now() < end, "the server does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.config);
    }
}

fn free_ports() -> [u16; 2] {
    let held = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
