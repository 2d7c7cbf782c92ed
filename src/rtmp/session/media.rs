//! What a publisher sends besides calls: audio, video, data, and several of them in one aggregate.

use super::{Event, ServerSession, State};
use crate::formats::message::{Kind, Message, WireTime};
use crate::rtmp::aggregate::{Aggregate, data};
use crate::rtmp::chunk::type_id;
use bytes::Bytes;

impl ServerSession {
    /// A media message: an event if this client publishes, nothing otherwise.
    pub(super) fn media(&mut self, type_id: u8, time: WireTime, payload: Bytes) -> Option<Event> {
        if !matches!(self.state, State::PublishStart | State::Publishing) {
            return None;
        }
        let message = match (type_id, Kind::of_type_id(type_id)) {
            (_, Some(kind @ (Kind::Audio | Kind::Video))) => Message { kind, time, payload },
            (type_id::AGGREGATE, _) => {
                let mut aggregate = Aggregate::new(payload, time);
                let first = aggregate.next()?;
                self.aggregate = Some(Box::new(aggregate));
                first
            }
            _ => data(time, &payload)?,
        };
        self.state = State::Publishing;
        Some(Event::Media(message))
    }
}
