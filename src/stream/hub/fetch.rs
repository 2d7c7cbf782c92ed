//! Fetching ahead: what the posts of a turn will touch of streams and feeds is fetched from memory before the first of
//! them is handled.
//!
//! With hundreds of streams nothing of one is in the caches any more when its next message comes, and handling it would
//! wait for memory a dozen times, 0.1 to 0.2 µs each. Asked for together, all of it comes in the time of one.

use super::{Feed, Hub, Origin, Post};
use crate::stream::output::Output;
use crate::stream::wire::Wire;

impl<W: Wire> Hub<W> {
    /// Step by step, as each step's addresses are in what the one before fetched.
    pub(super) fn fetch_ahead(&self) {
        if self.here.len() < 2 {
            return;
        }
        let origins = self.here.iter().filter_map(|post| match post {
            Post::Media { origin, .. } => self.origins.get(*origin),
            _ => None,
        });
        let feeds = self.here.iter().filter_map(|post| match post {
            Post::Feed { sub, .. } => self.feeds.get(sub.feed as usize),
            _ => None,
        });
        origins.clone().for_each(W::fetch);
        feeds.clone().for_each(W::fetch);
        origins.clone().for_each(Origin::fetch_parts::<W>);
        feeds.clone().for_each(Feed::fetch_parts);
        let outputs = origins.flat_map(Origin::outputs);
        outputs.clone().for_each(Output::fetch_parts::<W>);
        feeds.clone().for_each(Feed::fetch_blocks);
        outputs.for_each(Output::fetch_blocks::<W>);
    }
}
