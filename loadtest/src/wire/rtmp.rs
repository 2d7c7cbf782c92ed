//! RTMP as a load generator needs it: [`Caller`] plays or publishes one stream, [`Host`] lets a player in.
//!
//! Both are the library's own sessions, so what is measured is spoken to as real clients do.

use super::flv::media;
use super::{Error, Event, Wire};
use crate::target::Target;
use srs_shard::formats::message::{Kind, WireTime};
use srs_shard::rtmp::chunk::{csid, writer::write_message};
use srs_shard::rtmp::client::{ClientConfig, ClientEvent, ClientSession, Role};
use srs_shard::rtmp::control::Control;

use srs_shard::rtmp::session::{self, ServerSession, SessionConfig, Terms};
use srs_shard::rtmp::url::ClientUrl;
use std::sync::Arc;

/// The message stream that servers give to players.
pub(crate) const STREAM_ID: u32 = 1;

/// What a caller came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Play,
    Publish,
}

/// The client's side.
#[derive(Debug)]
pub(crate) struct Caller(ClientSession);

impl Caller {
    /// A caller for a target; fails if its URL names no stream.
    pub(crate) fn new(target: &Target, wish: Wish, seed: u64) -> Result<Caller, String> {
        let url = format!("rtmp://{}{}", target.authority, target.path);
        let url = ClientUrl::parse(&url).map_err(|e| format!("{url}: {e}"))?;
        let role = match wish {
            Wish::Play => Role::Play,
            Wish::Publish => Role::PublishFmle,
        };
        Ok(Caller(ClientSession::new(Arc::new(ClientConfig::new(&url, role)), seed)))
    }

    /// Appends a media message of a publisher.
    pub(crate) fn publish(&mut self, kind: Kind, ms: u32, payload: &[u8], out: &mut Vec<u8>) {
        self.0.write_media(kind, WireTime(ms), payload);
        out.append(&mut self.0.take_output());
    }

    /// Appends what a client says that goes in good order.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.0.finish();
        out.append(&mut self.0.take_output());
    }
}

impl Wire for Caller {
    fn connected(&mut self, out: &mut Vec<u8>, _: &mut dyn FnMut(Event)) -> Result<(), Error> {
        out.append(&mut self.0.take_output());
        Ok(())
    }

    fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>, on: &mut dyn FnMut(Event)) -> Result<(), Error> {
        loop {
            let event = self.0.read(&mut bytes);
            out.append(&mut self.0.take_output());
            let broken = |what: String| Error::Broken { at: self.0.bytes_read(), what };
            match event.map_err(|e| broken(e.to_string()))? {
                None => return Ok(()),
                Some(ClientEvent::Ready) => on(Event::Started),
                Some(ClientEvent::Media(message)) => on(media(message.kind, &message.payload)),
                Some(ClientEvent::Failed(status)) => {
                    let why = format!("{} {}", status.code, status.description);
                    return Err(Error::Refused(why.trim().to_owned()));
                }
                Some(ClientEvent::Status(_)) => {}
            }
        }
    }
}

/// An Acknowledgement of so many received bytes: what a player that discards sends now and then, so that servers
/// which ping do not take it for dead.
pub(crate) fn acknowledge(received: u64, out: &mut Vec<u8>) {
    Control::Acknowledgement(received as u32).write(out);
}

/// Appends a media message, its chunks starting with a full header, so that a player may begin with it.
pub(crate) fn write_media(kind: Kind, ms: u32, payload: &[u8], stream_id: u32, out: &mut Vec<u8>) {
    let csid = match kind {
        Kind::Audio => csid::AUDIO,
        Kind::Video => csid::VIDEO,
        Kind::Data => csid::DATA,
    };
    write_message(
        out,
        csid,
        kind.type_id(),
        stream_id,
        WireTime(ms),
        &[payload],
        Terms::default().chunk_bytes,
    );
}

/// The server's side, up to where media begins.
#[derive(Debug)]
pub(crate) struct Host(ServerSession);

impl Host {
    pub(crate) fn new(seed: u64) -> Host {
        Host(ServerSession::new(Arc::new(SessionConfig::default()), seed))
    }

    /// Takes a player's bytes and appends the answers; says whether it plays now.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, String> {
        let mut plays = false;
        while let Some(event) = self.0.read(&mut bytes).map_err(|e| e.to_string())? {
            match event {
                session::Event::Connect(request) => self.0.accept_connect(&request, &Terms::default()),
                session::Event::Play(_) => {
                    self.0.accept_play();
                    plays = true;
                }
                session::Event::Publish(_) => return Err("limit takes no publishers".into()),
                _ => {}
            }
        }
        out.append(&mut self.0.take_output());
        Ok(plays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::targets;

    fn caller(wish: Wish) -> Caller {
        let all = targets("rtmp://127.0.0.1/live/s?token=1", None).expect("a good URL");
        Caller::new(&all[0], wish, 1).expect("it names a stream")
    }

    /// Passes bytes between the two, `step` at a time, until neither speaks.
    fn meet(step: usize, media: &[u8]) -> (Result<(), Error>, Vec<Event>) {
        let (mut caller, mut host) = (caller(Wish::Play), Host::new(2));
        let (mut up, mut down, mut events) = (Vec::new(), Vec::new(), Vec::new());
        let mut on = |e| events.push(e);
        let mut result = caller.connected(&mut up, &mut on);
        let mut playing = false;
        while result.is_ok() && !(up.is_empty() && down.is_empty()) {
            for part in std::mem::take(&mut up).chunks(step) {
                if !playing && host.feed(part, &mut down).expect("a caller speaks RTMP") {
                    playing = true;
                    down.extend_from_slice(media);
                }
            }
            for part in std::mem::take(&mut down).chunks(step) {
                result = result.and_then(|()| caller.feed(part, &mut up, &mut on));
            }
        }
        (result, events)
    }

    #[test]
    fn a_caller_and_a_host_come_to_play_however_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        write_media(Kind::Data, 0, b"\x02\0\x0aonMetaData\x05", STREAM_ID, &mut bytes);
        write_media(Kind::Video, 0, b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1", STREAM_ID, &mut bytes);
        write_media(Kind::Video, 40, &[&b"\x17\x01\0\0\0"[..], &[7; 70_000]].concat(), STREAM_ID, &mut bytes);
        for step in [1, 7, 1000, 1 << 20] {
            let (result, events) = meet(step, &bytes);
            assert_eq!(result, Ok(()), "cut at {step}");
            let other = Event::Message { key: false, sent_ns: None };
            let key = Event::Message { key: true, sent_ns: None };
            assert_eq!(events, [Event::Started, other, other, key], "cut at {step}");
        }
    }

    #[test]
    fn a_publisher_is_not_let_in_by_a_host_and_hears_of_it_at_once() {
        let (mut publisher, mut host) = (caller(Wish::Publish), Host::new(2));
        let (mut up, mut down) = (Vec::new(), Vec::new());
        publisher.connected(&mut up, &mut |_| {}).expect("C0 and C1");
        let refused = loop {
            if let Err(why) = host.feed(&std::mem::take(&mut up), &mut down) {
                break why;
            }
            publisher.feed(&std::mem::take(&mut down), &mut up, &mut |_| {}).expect("a host speaks RTMP");
        };
        assert_eq!(refused, "limit takes no publishers");
    }
}
