//! Calls of the API that a shard refused: counted, and told in the log, one line per reason and second. Somebody may be
//! guessing.

use crate::http::request::Request;
use crate::logging::{Repeats, Throttle};
use crate::stats::reason::{ApiRefusal, Reason, Tally};
use crate::web::api::Refused;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;

/// What a shard has refused.
pub struct ApiRefusals {
    counts: RefCell<Tally<ApiRefusal>>,
    /// For each reason.
    calls: [Throttle; ApiRefusal::ALL.len()],
}

impl Default for ApiRefusals {
    fn default() -> Self {
        ApiRefusals { counts: RefCell::default(), calls: std::array::from_fn(|_| Throttle::new()) }
    }
}

impl ApiRefusals {
    /// A call is refused.
    pub fn tell(&self, peer: SocketAddr, request: &Request, refused: Refused) {
        self.counts.borrow_mut().add(refused.reason);
        let repeats = self.calls.get(refused.reason.index()).and_then(|calls| calls.admit(Instant::now()));
        if let Some(repeats) = repeats {
            let path: String = request.path.chars().take(200).collect();
            log::warn!("api: {} {path:?} from {peer} refused: {refused}{repeats}", request.method.as_str());
        }
    }

    /// Tells what was held back.
    pub fn sweep(&self) {
        for (reason, calls) in ApiRefusal::ALL.iter().zip(&self.calls) {
            if let Some(Repeats(more)) = calls.leftover(Instant::now()) {
                log::warn!("api: refused: {reason} ({more} more)");
            }
        }
    }

    /// How many, and why.
    pub fn counts(&self) -> Tally<ApiRefusal> {
        self.counts.borrow().clone()
    }
}
