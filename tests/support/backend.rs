//! An operator's backend, as hooks find it: it keeps what it is sent, and answers what a test wants.

use super::wait_for;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::{Router, serve};
use serde_json::Value;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub at: Instant,
    pub method: String,
    /// With its query.
    pub path: String,
    pub headers: HeaderMap,
    /// As text: its members have an order.
    pub text: String,
    /// The body, read.
    pub body: Value,
    /// The connection that it came over.
    pub peer: SocketAddr,
}

impl Request {
    /// What it is about.
    pub fn action(&self) -> &str {
        self.body["action"].as_str().expect("an action")
    }
}

#[derive(Clone)]
struct Reply {
    status: u16,
    body: String,
    after: Duration,
}

#[derive(Default)]
struct Kept {
    requests: Vec<Request>,
    replies: HashMap<String, Reply>,
}

/// A backend; it ends on drop.
pub struct Backend {
    at: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    runtime: Option<Runtime>,
}

impl Backend {
    /// One on a port of its own that says yes to everything.
    pub fn start() -> Backend {
        let probe = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let at = probe.local_addr().expect("its address");
        drop(probe);
        let mut backend = Backend { at, kept: Arc::default(), runtime: None };
        backend.come_up();
        backend
    }

    /// Listens, on the same port as before.
    pub fn come_up(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let app = Router::new().fallback(answer).with_state(Arc::clone(&self.kept));
        let listener: TcpListener = runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_reuseaddr(true).expect("a socket option");
            socket.bind(self.at).expect("its port is free");
            socket.listen(1024).expect("it listens")
        });
        runtime.spawn(async move {
            let _ = serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await;
        });
        self.runtime = Some(runtime);
    }

    /// Nobody listens any more, and what was open is closed.
    pub fn go_down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// The default vhost's hooks, all of them here: each at a path of its name.
    pub fn hooks(&self, more: &str) -> String {
        self.hooks_of("__defaultVhost__", more)
    }

    /// Those of a vhost.
    pub fn hooks_of(&self, vhost: &str, more: &str) -> String {
        let names = ["on_connect", "on_close", "on_publish", "on_unpublish", "on_play", "on_stop"];
        let lines = names.map(|name| format!("{name} = \"{}\"\n", self.url(&format!("/{name}"))));
        format!("[vhost.\"{vhost}\".http_hooks]\nenabled = true\n{}{more}", lines.concat())
    }

    /// What is answered at a path from now on.
    pub fn answers(&self, path: &str, status: u16, body: &str) {
        self.answers_after(path, status, body, Duration::ZERO);
    }

    /// The same, a while later.
    pub fn answers_after(&self, path: &str, status: u16, body: &str, after: Duration) {
        let reply = Reply { status, body: body.to_owned(), after };
        self.kept().replies.insert(path.to_owned(), reply);
    }

    /// All that came so far.
    pub fn requests(&self) -> Vec<Request> {
        self.kept().requests.clone()
    }

    /// What came so far about something.
    pub fn of(&self, action: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.action() == action).collect()
    }

    /// Waits until so many came about something.
    pub fn wait(&self, action: &str, times: usize) -> Vec<Request> {
        wait_for(&format!("{times} × {action}"), || {
            let all = self.of(action);
            (all.len() >= times).then_some(all)
        })
    }

    /// Forgets what came.
    pub fn forget(&self) {
        self.kept().requests.clear();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.go_down();
    }
}

async fn answer(
    State(kept): State<Arc<Mutex<Kept>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let reply = {
        let mut kept = kept.lock().unwrap_or_else(|e| e.into_inner());
        let text = String::from_utf8_lossy(&body).into_owned();
        let request = Request {
            at: Instant::now(),
            method: method.to_string(),
            path: uri.to_string(),
            headers,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
            peer,
        };
        kept.requests.push(request);
        kept.replies.get(uri.path()).cloned()
    };
    let reply = reply.unwrap_or(Reply { status: 200, body: "0".to_owned(), after: Duration::ZERO });
    tokio::time::sleep(reply.after).await;
    (StatusCode::from_u16(reply.status).expect("a status"), reply.body)
}
