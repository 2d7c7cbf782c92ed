//! An RTMP player of our own, for what real ones don't tell: when each message came.

use super::server::Server;
use super::{PATIENCE, wait_for};
use srs_shard::formats::flv::{Role as TagRole, inspect};
use srs_shard::formats::message::{Kind, Message};
use srs_shard::rtmp::client::{ClientConfig, ClientEvent, ClientSession, Role, Step};
use srs_shard::rtmp::url::ClientUrl;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Connects, and goes on until the server says that the stream will come (or may be sent).
pub fn connect(url: &str, role: Role) -> (TcpStream, ClientSession) {
    try_connect(url, role).unwrap_or_else(|why| panic!("{url}: {why}"))
}

/// The same; what went wrong, otherwise.
pub fn try_connect(url: &str, role: Role) -> Result<(TcpStream, ClientSession), String> {
    connect_behind(&[], url, role)
}

/// The same behind a proxy that says `header` first.
pub fn connect_behind(header: &[u8], url: &str, role: Role) -> Result<(TcpStream, ClientSession), String> {
    let parsed = ClientUrl::parse(url).expect("a URL");
    let mut stream = TcpStream::connect((parsed.host.as_str(), parsed.port)).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream.write_all(header).map_err(|e| e.to_string())?;
    let session = introduce(&stream, url, role)?;
    Ok((stream, session))
}

/// The same over a connection of the caller's.
pub fn introduce(mut stream: &TcpStream, url: &str, role: Role) -> Result<ClientSession, String> {
    let parsed = ClientUrl::parse(url).expect("a URL");
    let mut session = ClientSession::new(Arc::new(ClientConfig::new(&parsed, role)), 7);
    let mut buffer = [0; 4096];
    stream.write_all(&session.take_output()).map_err(|e| e.to_string())?;
    while session.step() != Step::Ready {
        // One byte at a time near the end would be needed to lose no media: nobody here publishes yet, or
        // the caller does not care.
        let n = stream.read(&mut buffer).map_err(|e| e.to_string())?;
        if n == 0 {
            return Err("closed by the server".to_owned());
        }
        let mut input = &buffer[..n];
        while let Some(event) = session.read(&mut input).map_err(|e| e.to_string())? {
            if let ClientEvent::Failed(status) = event {
                return Err(format!("{status:?}"));
            }
        }
        stream.write_all(&session.take_output()).map_err(|e| e.to_string())?;
    }
    Ok(session)
}

/// A player in a thread of its own, which notes when what came.
pub struct Player {
    stream: TcpStream,
    events: Receiver<(Instant, Message)>,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Came {
    pub at: Instant,
    pub message: Message,
}

impl Came {
    /// Coded sound.
    pub fn is_sound(&self) -> bool {
        let role = inspect(self.message.kind, &self.message.payload).role;
        self.message.kind == Kind::Audio && matches!(role, TagRole::Key | TagRole::Coded)
    }

    /// A coded picture.
    pub fn is_picture(&self) -> bool {
        let role = inspect(self.message.kind, &self.message.payload).role;
        self.message.kind == Kind::Video && matches!(role, TagRole::Key | TagRole::Coded)
    }

    /// A keyframe.
    pub fn is_key(&self) -> bool {
        self.is_picture() && inspect(self.message.kind, &self.message.payload).role == TagRole::Key
    }

    /// A video sequence header.
    pub fn is_video_header(&self) -> bool {
        let role = inspect(self.message.kind, &self.message.payload).role;
        self.message.kind == Kind::Video && role == TagRole::SequenceHeader
    }
}

impl Player {
    /// Plays a URL.
    pub fn start(url: &str) -> Player {
        let (mut stream, mut session) = connect(url, Role::Play);
        let (tell, events) = mpsc::channel();
        let copy = stream.try_clone().expect("a socket");
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                let (at, mut input) = (Instant::now(), &buffer[..n]);
                while let Ok(Some(event)) = session.read(&mut input) {
                    if let ClientEvent::Media(message) = event
                        && tell.send((at, message)).is_err()
                    {
                        return;
                    }
                }
                if stream.write_all(&session.take_output()).is_err() {
                    return;
                }
            }
        });
        Player { stream: copy, events }
    }

    /// The same on a shard that `fits` likes; on which shard a connection lands is the kernel's choice.
    pub fn start_where(server: &Server, stream: &str, fits: impl Fn(u16) -> bool) -> Player {
        loop {
            let before: Vec<u64> = server.clients_of(stream).iter().map(|client| client.id).collect();
            let player = Player::start(&server.rtmp(stream));
            let mine = wait_for("a new player", || {
                server.clients_of(stream).into_iter().find(|client| !before.contains(&client.id))
            });
            if fits(mine.shard) {
                return player;
            }
            drop(player);
            wait_for("it to leave", || {
                (!server.clients_of(stream).iter().any(|client| client.id == mine.id)).then_some(())
            });
        }
    }

    /// Forgets what has come so far.
    pub fn skip(&self) {
        while self.events.try_recv().is_ok() {}
    }

    /// What comes until `enough` says so. Panics if the stream ends, or nothing comes for long.
    pub fn until(&self, mut enough: impl FnMut(&Came) -> bool) -> Vec<Came> {
        let mut all = Vec::new();
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok((at, message)) => all.push(Came { at, message }),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("nothing came for long after {} messages", all.len())
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the end after {} messages", all.len()),
            }
            if all.last().is_some_and(&mut enough) {
                return all;
            }
        }
    }

    /// What comes until the connection ends.
    pub fn rest(self) -> Vec<Came> {
        let mut all = Vec::new();
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok((at, message)) => all.push(Came { at, message }),
                Err(RecvTimeoutError::Timeout) => panic!("no end after {} messages", all.len()),
                Err(RecvTimeoutError::Disconnected) => return all,
            }
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both); // ends its thread
    }
}

/// The longest time between two pictures.
pub fn longest_gap(all: &[Came]) -> Duration {
    let pictures: Vec<Instant> = all.iter().filter(|came| came.is_picture()).map(|came| came.at).collect();
    pictures.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default()
}
