//! srs-shard: a live media server. **A stream lives on one shard, its bytes are encoded once, and a viewer is
//! a cursor into them.** The command is in `main.rs`; this is the map.
//!
//! # A packet's way
//!
//! A *shard* is one executor on one core ([`shards`]). A packet comes in on the shard of its publisher, goes
//! through the one shard that owns its stream, and leaves from every shard that has viewers:
//!
//! 1. **Read.** [`server::rtmp_conn::serve`] reads into the shard's scratch; [`ServerSession::read`] copies each
//!    message out of it, once, and yields it as an event. The messages of one read go on together, through
//!    [`Hub::media`].
//! 2. **Own.** [`owner_of`] says which shard owns the stream. What one read brought becomes one
//!    [`Post::Media`], charged to the publisher's credit: used up, the connection is not read from until the
//!    owner gives some back. Owner and publisher may be on one shard; the way is the same.
//! 3. **Normalise.** [`Origin::media`], once per stream: [`inspect`] tells headers, keyframes and codecs,
//!    [`Timeline::place`] makes the encoder's times the stream's, [`Prelude::remember`] keeps what a decoder must
//!    know first.
//! 4. **Encode and cut.** [`Output::frame`], once per format in demand, has its [`Encoder`] append to the open
//!    block; [`Origin::tick`] has what is due sealed by [`Output::seal_and_post`]: an immutable [`Block`] with an
//!    index of its units.
//! 5. **Post.** One [`Post::Feed`] per subscribed shard within its window; at the end of a turn
//!    [`Hub::take_posts`] hands all posts to [`Ctx::post`], which sends one item per peer.
//! 6. **Send.** [`Feed::take`] adds the block to the feed's [`Log`], whose tail is the GOP cache; [`Feed::pump`]
//!    walks the [`Viewer`]s and writes from their offsets straight to their sockets ([`Wire::try_send`]).
//!
//! [`Hub::turn`] drives steps 4 to 6 at the end of a shard's turn, [`server::shard`] drives the hub.
//!
//! # Modules and direction
//!
//! Each uses what is to its left or above, never the other way; `tests/rules.rs` checks it.
//!
//! ```text
//! formats <- rtmp http <- stream <- caster <- web <- server <- main
//! access config  plain data and decisions: use formats only; rtmp upward may use them
//! stats          outbound <- hooks <- web
//! shards         the engine: caster, web and server may use it, nothing below
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`formats`] | FLV, AMF0, TS, MP4 and codec headers as bytes in, bytes out |
//! | [`rtmp`], [`http`] | the protocols: sessions without I/O |
//! | [`stream`] | the stream core: owner, blocks, feeds, viewers; no I/O and no clock either |
//! | [`caster`] | foreign input that becomes a publisher: the demo |
//! | [`web`] | what is said over HTTP: API, live bodies, files, the player page |
//! | [`hooks`] | HTTP callbacks: an operator's backend decides about clients and is told of them |
//! | [`outbound`] | requests that the server makes itself, on a thread of their own |
//! | [`server`] | sockets and shards around all of it |
//! | [`access`] | who may publish and play |
//! | [`config`], [`stats`], [`logging`], [`cli`] | what their names say |
//! | `fuzzing` | for tests only: what must hold for every input |
//!
//! [`ServerSession::read`]: rtmp::session::ServerSession::read
//! [`Hub::media`]: stream::hub::Hub::media
//! [`Hub::turn`]: stream::hub::Hub::turn
//! [`Hub::take_posts`]: stream::hub::Hub::take_posts
//! [`owner_of`]: shards::owner::owner_of
//! [`Ctx::post`]: shards::Ctx::post
//! [`Post::Media`]: stream::post::Post::Media
//! [`Post::Feed`]: stream::post::Post::Feed
//! [`Origin::media`]: stream::origin::Origin::media
//! [`Origin::tick`]: stream::origin::Origin::tick
//! [`inspect`]: formats::flv::inspect
//! [`Timeline::place`]: stream::timeline::Timeline::place
//! [`Prelude::remember`]: stream::prelude::Prelude::remember
//! [`Output::frame`]: stream::output::Output::frame
//! [`Output::seal_and_post`]: stream::output::Output::seal_and_post
//! [`Encoder`]: stream::encode::Encoder
//! [`Block`]: stream::block::Block
//! [`Feed::take`]: stream::feed::Feed::take
//! [`Feed::pump`]: stream::feed::Feed::pump
//! [`Log`]: stream::log::Log
//! [`Viewer`]: stream::viewer::Viewer
//! [`Wire::try_send`]: stream::wire::Wire::try_send

/// Our version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Our name and version, as peers see it.
pub const SIGNATURE: &str = concat!("srs-shard/", env!("CARGO_PKG_VERSION"));
/// The SRS whose behaviour we offer: tools look at it to learn what the API can do.
pub const SRS_VERSION: (u32, u32, u32) = (3, 0, 170);

/// [`SRS_VERSION`] as text.
pub fn srs_version() -> String {
    let (major, minor, revision) = SRS_VERSION;
    format!("{major}.{minor}.{revision}")
}

// The checker of transport streams that tests and fuzzing share names the crate as tests do.
#[cfg(any(test, feature = "fuzzing"))]
extern crate self as srs_shard;

pub mod access;
pub mod caster;
pub mod cli;
pub mod config;
#[cfg(feature = "fault-injection")]
pub mod faults;
pub mod formats;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod hooks;
pub mod http;
pub mod logging;
pub mod outbound;
pub mod rtmp;
pub mod server;
pub mod stats;
pub mod stream;
pub mod web;
