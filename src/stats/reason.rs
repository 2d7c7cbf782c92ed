//! Why something ended or was dropped: one word each, the same in log, metric, API and protocol reply.

use std::fmt;
use std::marker::PhantomData;

/// A closed set of reasons.
pub trait Reason: Copy + 'static {
    /// All of them, in declaration order.
    const ALL: &'static [Self];
    /// The word, in snake_case; it never changes once released.
    fn as_str(self) -> &'static str;
    /// Position in [`Reason::ALL`].
    fn index(self) -> usize;
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$why:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$why])* $variant,)* }

        impl Reason for $name {
            const ALL: &'static [Self] = &[$($name::$variant,)*];

            fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            fn index(self) -> usize {
                self as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// Why a connection, publish or play was refused or ended.
    CloseReason {
        /// The peer closed in good order.
        PeerClosed = "peer_closed",
        /// The peer, or the network, reset the connection.
        PeerReset = "peer_reset",
        /// All was said: the answer was sent, or the peer asked to stop.
        Finished = "finished",
        /// The publisher left, so its HTTP viewers end.
        Unpublished = "unpublished",
        /// The asked-for duration was played.
        PlayDurationReached = "play_duration_reached",
        /// An operator ended it through the API.
        Kicked = "kicked",
        /// The server stops.
        ServerStopping = "server_stopping",
        /// `max_connections` is reached.
        MaxConnections = "max_connections",
        /// `max_connections_per_ip` is reached.
        MaxConnectionsPerIp = "max_connections_per_ip",
        /// The vhost's `max_clients` is reached.
        MaxClients = "max_clients",
        /// More connections came within a second than `accept_rate` permits.
        AcceptRate = "accept_rate",
        /// A memory budget is used up, so a newcomer is refused.
        MemoryBudget = "memory_budget",
        /// The stream is being encoded in as many formats as it may be.
        TooManyFormats = "too_many_formats",
        /// The RTMP handshake took too long.
        HandshakeTimeout = "handshake_timeout",
        /// No `connect` command, or no complete request, in time.
        ConnectTimeout = "connect_timeout",
        /// Nothing came and nothing was asked for.
        IdleTimeout = "idle_timeout",
        /// A publisher sent no first message in time.
        FirstPacketTimeout = "first_packet_timeout",
        /// A publisher fell silent.
        PublishTimeout = "publish_timeout",
        /// A message was not taken by the peer within `send_timeout`.
        SendTimeout = "send_timeout",
        /// The peer broke the protocol.
        ProtocolError = "protocol_error",
        /// The request is malformed or names something impossible.
        BadRequest = "bad_request",
        /// The stream is being published already.
        StreamBusy = "stream_busy",
        /// A newer publisher took the stream over.
        PublishTakeover = "publish_takeover",
        /// The publisher was silent and gave way to a new one.
        PublishStale = "publish_stale",
        /// No such vhost, and no default one.
        VhostUnknown = "vhost_unknown",
        /// `security` is against its address.
        SecurityDenied = "security_denied",
        /// `refer` is against its page.
        ReferDenied = "refer_denied",
        /// The backend said no.
        HookDenied = "hook_denied",
        /// The backend was asked and did not answer.
        HookFailed = "hook_failed",
        /// No stream key that opens what it wants.
        KeyDenied = "key_denied",
        /// No signed URL that opens what it wants.
        SignDenied = "sign_denied",
        /// No token that opens what it wants.
        TokenDenied = "token_denied",
        /// The set of tracks changed in a format that cannot say so within a body.
        TracksChanged = "tracks_changed",
        /// More command bytes wait for the peer than one connection may hold.
        PrivateOverflow = "private_overflow",
        /// A bug: a panic, isolated to this connection or stream.
        Panic = "panic",
    }
}

impl CloseReason {
    /// What a failed read or write says of the peer: the kernel gives up on one that takes nothing for
    /// TCP_USER_TIMEOUT, which is set to `send_timeout`.
    pub fn of_io(error: &std::io::Error) -> CloseReason {
        if error.kind() == std::io::ErrorKind::TimedOut { Self::SendTimeout } else { Self::PeerReset }
    }

    /// Whether this is an ordinary end. The others count as errors in `srs_clients_errs_total`.
    pub const fn is_ordinary(self) -> bool {
        use CloseReason::*;
        matches!(
            self,
            PeerClosed
                | Finished
                | Unpublished
                | PlayDurationReached
                | Kicked
                | ServerStopping
                | PublishTakeover
                | IdleTimeout
        )
    }
}

reasons! {
    /// Why media did not reach a viewer or a stream's feed.
    DropReason {
        /// The viewer was further behind than `queue_length` and jumped.
        QueueLength = "queue_length",
        /// The feed no longer held what the viewer stood in (memory limit), and it jumped.
        FeedTrimmed = "feed_trimmed",
        /// The shard of the viewers did not take the stream's blocks fast enough.
        EdgeLagged = "edge_lagged",
        /// A bug: a channel between shards was full although the windows should prevent it.
        ChannelFull = "channel_full",
    }
}

reasons! {
    /// Why a call of the HTTP API was refused.
    ApiRefusal {
        /// It would change something, comes from another machine, and `http_api.auth` is off.
        NotLoopback = "not_loopback",
        /// The same, from this machine, but by another name: a page's, whose name was bound to a new address.
        NotLoopbackHost = "not_loopback_host",
        /// The same, but a page in a browser or a proxy stands behind it.
        PageOrProxy = "page_or_proxy",
        /// It says nothing of who calls.
        AuthMissing = "auth_missing",
        /// It has another password or token.
        AuthWrong = "auth_wrong",
    }
}

/// A count per reason.
pub struct Tally<R> {
    counts: Box<[u64]>,
    reasons: PhantomData<fn() -> R>,
}

impl<R: Reason> Tally<R> {
    /// Counts one.
    pub fn add(&mut self, reason: R) {
        self.add_many(reason, 1);
    }

    /// Counts several.
    pub fn add_many(&mut self, reason: R, count: u64) {
        if let Some(slot) = self.counts.get_mut(reason.index()) {
            *slot = slot.saturating_add(count);
        }
    }

    /// The count of one reason.
    pub fn count(&self, reason: R) -> u64 {
        self.counts.get(reason.index()).copied().unwrap_or(0)
    }

    /// All reasons with their counts, zeros too, in declaration order.
    pub fn iter(&self) -> impl Iterator<Item = (R, u64)> + '_ {
        R::ALL.iter().copied().zip(self.counts.iter().copied())
    }
}

impl<R: Reason> Default for Tally<R> {
    fn default() -> Self {
        Self { counts: vec![0; R::ALL.len()].into(), reasons: PhantomData }
    }
}

impl<R> Clone for Tally<R> {
    fn clone(&self) -> Self {
        Self { counts: self.counts.clone(), reasons: PhantomData }
    }
}

impl<R: Reason> fmt::Debug for Tally<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.iter().filter(|&(_, n)| n > 0);
        f.debug_map().entries(counted.map(|(r, n)| (r.as_str(), n))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<R: Reason + PartialEq + fmt::Debug>() {
        let mut words: Vec<&str> = R::ALL.iter().map(|r| r.as_str()).collect();
        for (at, reason) in R::ALL.iter().enumerate() {
            assert_eq!(reason.index(), at);
            let word = reason.as_str();
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word}");
            // The word is the variant's name, so that a reader of the log finds it in the code.
            let camel: String = word.split('_').map(|part| part[..1].to_uppercase() + &part[1..]).collect();
            assert_eq!(camel, format!("{reason:?}"));
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), R::ALL.len());
    }

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        check::<CloseReason>();
        check::<DropReason>();
        check::<ApiRefusal>();
    }

    #[test]
    fn a_tally_counts_each_reason_apart() {
        let mut tally = Tally::default();
        tally.add(DropReason::EdgeLagged);
        tally.add_many(DropReason::EdgeLagged, 4);
        tally.add(DropReason::FeedTrimmed);
        assert_eq!(tally.count(DropReason::EdgeLagged), 5);
        assert_eq!(tally.count(DropReason::QueueLength), 0);
        assert_eq!(tally.iter().map(|(_, n)| n).sum::<u64>(), 6);
        assert_eq!(format!("{tally:?}"), r#"{"feed_trimmed": 1, "edge_lagged": 5}"#);
    }
}
