//! A server under test: started, awaited, and ended when it is dropped.

use crate::cli::Encoders;
use crate::net;
use crate::procstat;
use crate::scenario::{Addresses, Scenario, ServerFile};
use crate::target;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A server that does not listen after this time has failed.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// A process that does not end after this time is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(50);
/// Where `limit` listens.
const LIMIT_AT: &str = "127.0.0.1:19350";

/// What can be put under load.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// A server by its file.
    Server(Box<ServerFile>),
    /// The lower bound.
    Limit {
        /// One send per interval instead of one per message.
        merge: Option<String>,
        nagle: bool,
        /// The CPU it is to run on.
        pin: Option<usize>,
    },
}

impl Subject {
    /// `limit`, `limit:350ms`, `limit:nodelay`, `limit:350ms:nodelay`, or a server file's path.
    pub(crate) fn parse(text: &str) -> io::Result<Subject> {
        let mut parts = text.split(':');
        if parts.next() != Some("limit") || Path::new(text).exists() {
            return Ok(Subject::Server(Box::new(ServerFile::load(Path::new(text))?)));
        }
        let (mut merge, mut nagle) = (None, true);
        for part in parts {
            match part {
                "nodelay" => nagle = false,
                time => {
                    crate::cli::duration(time).map_err(|e| io::Error::other(format!("'{text}': {e}")))?;
                    merge = Some(time.to_owned());
                }
            }
        }
        Ok(Subject::Limit { merge, nagle, pin: None })
    }

    /// Its name in reports.
    pub(crate) fn name(&self) -> String {
        match self {
            Subject::Server(file) => file.name.clone().unwrap_or_else(|| file.command.clone()),
            Subject::Limit { merge, nagle, .. } => {
                let cadence =
                    merge.as_ref().map_or("each message".into(), |time| format!("merged at {time}"));
                format!("limit ({cadence}, {})", if *nagle { "Nagle" } else { "TCP_NODELAY" })
            }
        }
    }

    /// The CPU it is to run on.
    pub(crate) fn pin(&self) -> Option<usize> {
        match self {
            Subject::Server(file) => file.pin,
            Subject::Limit { pin, .. } => *pin,
        }
    }

    /// The lower bound runs where the other one does.
    pub(crate) fn beside(self, other: &Subject) -> Subject {
        match self {
            Subject::Limit { merge, nagle, pin: None } => Subject::Limit { merge, nagle, pin: other.pin() },
            server => server,
        }
    }

    /// Starts it; returns it with the scenario as it is to run against it.
    pub(crate) fn start(&self, scenario: &Scenario) -> io::Result<(Running, Scenario)> {
        match self {
            Subject::Server(file) => {
                // `exec`: the process that is measured is the server, not the shell.
                let mut command = Command::new("sh");
                command.args(["-c", &format!("exec {}", file.command)]);
                let rtmp = target::targets(&file.rtmp, None)?.swap_remove(0).address;
                let running = Running::start(command, self.pin(), rtmp)?;
                let here = scenario.at(&Addresses { rtmp: file.rtmp.clone(), http: file.http.clone() })?;
                Ok((running, here))
            }
            Subject::Limit { merge, nagle, pin } => {
                let mut here = scenario.clone();
                let encoders = std::mem::take(&mut here.encoders);
                let is_rtmp = here
                    .players
                    .iter()
                    .all(|group| group.url.starts_with("{rtmp}") || group.url.starts_with("rtmp:"));
                for group in &mut here.players {
                    // It has one stream, whatever it is called.
                    let url = if is_rtmp {
                        format!("rtmp://{LIMIT_AT}/live/limit")
                    } else {
                        format!("raw://{LIMIT_AT}")
                    };
                    (group.url, group.streams) = (url, None);
                }
                let mut command = Command::new(std::env::current_exe()?);
                command.args([
                    "limit",
                    "--listen",
                    LIMIT_AT,
                    "--protocol",
                    if is_rtmp { "rtmp" } else { "raw" },
                ]);
                command.args(["--nagle", if *nagle { "on" } else { "off" }]);
                command.args(merge.iter().flat_map(|time| ["--merge", time]));
                command.args(encoders.first().map(source_arguments).unwrap_or_default());
                let at = LIMIT_AT.parse::<SocketAddr>().map_err(io::Error::other)?;
                Ok((Running::start(command, *pin, at)?, here))
            }
        }
    }
}

fn source_arguments(encoders: &Encoders) -> Vec<String> {
    let source = &encoders.source;
    match &source.flv {
        Some(path) => vec![format!("--flv={}", path.display())],
        None => vec![format!("--kbps={}", source.kbps), format!("--rate={}", source.rate)],
    }
}

/// A server that runs: asked to end when this is dropped, and killed if it does not listen.
pub(crate) struct Running(Child);

impl Running {
    fn start(mut command: Command, cpu: Option<usize>, at: SocketAddr) -> io::Result<Running> {
        if let Ok(_someone) = TcpStream::connect_timeout(&at, TRY_EVERY) {
            return Err(io::Error::other(format!("something listens on {at} already")));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = net::spawn(&mut command, cpu)
            .map_err(|e| io::Error::new(e.kind(), format!("{command:?}: {e}")))?;
        let mut running = Running(child);
        let until = Instant::now() + START_TIMEOUT;
        loop {
            match TcpStream::connect_timeout(&at, START_TIMEOUT) {
                Ok(_) => return Ok(running),
                Err(e) if Instant::now() > until || net::stopped() => {
                    return Err(io::Error::new(e.kind(), format!("nothing listens on {at}: {e}")));
                }
                Err(_) => running.check(&format!("{command:?}"))?,
            }
            sleep(TRY_EVERY);
        }
    }

    /// Fails if it has ended by itself.
    pub(crate) fn check(&mut self, name: &str) -> io::Result<()> {
        match self.0.try_wait()? {
            Some(status) => Err(io::Error::other(format!("{name} ended by itself: {status}"))),
            None => Ok(()),
        }
    }

    /// Its processes: a server may be a master with workers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        procstat::family(self.0.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let until = Instant::now() + STOP_TIMEOUT;
        if matches!(self.0.try_wait(), Ok(None)) {
            net::terminate(self.0.id());
        }
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            sleep(TRY_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_bound_is_named_with_its_cadence() {
        for (text, name) in [
            ("limit", "limit (each message, Nagle)"),
            ("limit:350ms", "limit (merged at 350ms, Nagle)"),
            ("limit:nodelay", "limit (each message, TCP_NODELAY)"),
            ("limit:100ms:nodelay", "limit (merged at 100ms, TCP_NODELAY)"),
        ] {
            assert_eq!(
                Subject::parse(text).map(|s| s.name()).map_err(|e| e.to_string()),
                Ok(name.to_owned())
            );
        }
        assert!(Subject::parse("limit:often").is_err_and(|e| e.to_string().contains("'often'")));
        assert!(Subject::parse("nowhere.toml").is_err_and(|e| e.to_string().contains("nowhere.toml")));
    }

    #[test]
    fn a_server_that_ends_at_once_is_told() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        let error = Running::start(command, None, "127.0.0.1:9".parse().expect("an address")).err();
        let told = error.map(|e| e.to_string()).unwrap_or_default();
        assert!(told.contains("ended by itself") && told.contains('3'), "{told}");
    }
}
