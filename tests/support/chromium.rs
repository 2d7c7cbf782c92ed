//! Debian's headless Chromium over the DevTools protocol: opens a page, evaluates expressions in it.

use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};
use tungstenite::{Message, WebSocket};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
];

/// A running browser with one page; it ends, and its profile goes, when this is dropped.
pub struct Chromium {
    child: Child,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    session: String,
    calls: u64,
    /// What the page's console said, exceptions first of all.
    pub complaints: Vec<String>,
}

impl Chromium {
    /// Starts a browser with an empty profile and opens `url`. Panics if that fails: this is for tests.
    pub fn open(url: &str) -> Chromium {
        let profile = std::env::temp_dir().join(format!(
            "srs-shard-chromium-{}-{:?}",
            std::process::id(),
            thread::current().id()
        ));
        fs::create_dir_all(&profile).expect("a profile directory");
        let child = Command::new("chromium")
            .args(FLAGS)
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium is installed (apt-get install chromium)");
        let child = Guard(Some(child));
        let (port, path) = devtools(&profile);
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("DevTools listens");
        stream.set_read_timeout(Some(CALL_TIMEOUT)).expect("a socket option");
        let endpoint = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) = tungstenite::client(endpoint, stream).expect("a DevTools handshake");
        let child = child.release();
        let mut browser =
            Chromium { child, profile, socket, session: String::new(), calls: 0, complaints: Vec::new() };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().expect("a session id").to_owned();
        browser.call("Runtime.enable", json!({}));
        browser.go(url);
        browser
    }

    /// Opens another page.
    pub fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// The value of a JavaScript expression, awaited if it is a promise.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Evaluates `expression` until it is `true`; panics with the value of `otherwise` after `patience`.
    pub fn wait_for(&mut self, expression: &str, patience: Duration, otherwise: &str) {
        let end = Instant::now() + patience;
        while self.evaluate(expression) != true {
            if Instant::now() > end {
                let state = self.evaluate(otherwise);
                panic!("not within {patience:?}: {expression}; {state}; console: {:?}", self.complaints);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": parameters });
        if !self.session.is_empty() {
            call["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(call.to_string())).expect("the browser takes a call");
        loop {
            let message = self.socket.read().unwrap_or_else(|e| panic!("{method}: no answer: {e}"));
            let Message::Text(text) = message else { continue };
            let mut said: Value = serde_json::from_str(&text).expect("DevTools speak JSON");
            if said["id"] == self.calls {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].take();
            }
            if said["method"] == "Runtime.exceptionThrown" || said["method"] == "Runtime.consoleAPICalled" {
                self.complaints.push(said["params"].to_string());
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // `Browser.close` lets it end its helper processes; the kill is for one that does not listen.
        self.session.clear();
        let close = json!({ "id": u64::MAX >> 12, "method": "Browser.close" });
        let _ = self.socket.send(Message::text(close.to_string()));
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// Ends the browser if the start fails half-way.
struct Guard(Option<Child>);

impl Guard {
    fn release(mut self) -> Child {
        self.0.take().expect("released once")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Port and path of the browser's DevTools socket, which it writes to its profile once it listens.
fn devtools(profile: &Path) -> (u16, String) {
    let end = Instant::now() + START_TIMEOUT;
    loop {
        let read = fs::read_to_string(profile.join("DevToolsActivePort"));
        if let Some((port, path)) = parse(read) {
            return (port, path);
        }
        assert!(Instant::now() < end, "chromium did not start within {START_TIMEOUT:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn parse(file: io::Result<String>) -> Option<(u16, String)> {
    let text = file.ok()?;
    let (port, path) = text.split_once('\n')?;
    Some((port.parse().ok()?, path.trim().to_owned()))
}
