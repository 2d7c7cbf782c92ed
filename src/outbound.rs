//! Requests over HTTP that the server makes itself: hooks, heartbeats, keys of tokens. On a thread of its own, so that no
//! name look-up, connect or TLS handshake blocks a shard.

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Connections kept for each host that are not in use; the others are closed after their answer.
const IDLE_PER_HOST: usize = 32;
/// How long one is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Names that are looked up at once: the C library does so, a thread each.
const LOOKUPS: usize = 8;
/// How much of an answer is read.
pub const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Why it cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// No thread.
    #[error("cannot start the thread for requests of our own: {0}")]
    Thread(#[source] io::Error),
    /// The certificates cannot be read.
    #[error("http_client.ca_file {path}: {what}")]
    Certificates {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

/// The thread that makes requests, and its client.
pub struct Outbound {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Outbound {
    /// Starts the thread. Call it before any thread is pinned: threads inherit their creator's mask. Certificates of
    /// `ca_file` (PEM) are trusted beside the system's.
    pub fn start(ca_file: Option<&Path>) -> Result<Outbound, OutboundError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(LOOKUPS)
            .thread_name("outbound")
            .enable_all()
            .build()
            .map_err(OutboundError::Thread)?;
        let _ = rustls::crypto::ring::default_provider().install_default(); // one that is there already does as well
        let client = Client::builder()
            .user_agent(crate::SIGNATURE)
            // As SRS's: what a backend answers is for us to read, not where else to go.
            .redirect(Policy::none())
            // What is on this machine or in this data centre is not to be asked through a proxy of the environment.
            .no_proxy()
            .http1_only()
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .pool_idle_timeout(IDLE)
            .tls_certs_merge(ca_file.map(certificates).transpose()?.unwrap_or_default())
            .build()
            .map_err(OutboundError::Client)?;
        Ok(Outbound { runtime, client })
    }

    /// The client that all share.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// For those who send something now and then.
    pub fn post(&self) -> Post {
        Post { thread: self.runtime.handle().clone(), client: self.client() }
    }

    /// For those who get something now and then.
    pub fn fetcher(&self) -> Fetcher {
        Fetcher { thread: self.runtime.handle().clone(), client: self.client() }
    }

    /// Ends the thread; a name that is being looked up is not waited for.
    pub fn close(self) {
        self.runtime.shutdown_background();
    }

    /// Runs a task on the thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }
}

/// Sends something from any thread, and waits for nothing.
#[derive(Clone, Debug)]
pub struct Post {
    thread: tokio::runtime::Handle,
    client: Client,
}

impl Post {
    /// Sends JSON to a URL, within `limit`; `done` hears what was wrong, if it was not answered with 200.
    pub fn send(
        &self,
        url: String,
        body: String,
        limit: Duration,
        done: impl FnOnce(Result<(), String>) + Send + 'static,
    ) {
        let request =
            self.client.post(url).header("Content-Type", "application/json").timeout(limit).body(body);
        self.thread.spawn(async move {
            done(match request.send().await {
                Ok(response) if response.status() == 200 => Ok(()),
                Ok(response) => Err(format!("status {}", response.status().as_u16())),
                Err(error) => Err(why(&error)),
            });
        });
    }
}

/// Gets something from a web server, in tasks of its own on the thread.
#[derive(Clone, Debug)]
pub struct Fetcher {
    thread: tokio::runtime::Handle,
    client: Client,
}

impl Fetcher {
    /// Runs a task on the thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.thread.spawn(task);
    }

    /// What is behind a URL, if that is a text of at most [`MAX_ANSWER_BYTES`] and comes within `limit`.
    pub async fn text(&self, url: &str, limit: Duration) -> Result<String, String> {
        let mut response = self.client.get(url).timeout(limit).send().await.map_err(|error| why(&error))?;
        if response.status() != 200 {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| why(&error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(format!("more than {MAX_ANSWER_BYTES} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
    }
}

/// What went wrong with a request, from the general to the particular, without its URL.
pub fn why(error: &reqwest::Error) -> String {
    let mut why = match error {
        _ if error.is_timeout() => "no answer in time".to_owned(),
        _ if error.is_connect() => "cannot connect".to_owned(),
        _ => "the request failed".to_owned(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        // Each layer repeats those below it.
        if !why.ends_with(&text) {
            why = format!("{why}: {text}");
        }
        source = cause.source();
    }
    why
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, OutboundError> {
    let failed = |what: String| OutboundError::Certificates { path: file.display().to_string(), what };
    let pem = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    let all = Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.to_string()))?;
    if all.is_empty() { Err(failed("no certificate in it".to_owned())) } else { Ok(all) }
}
