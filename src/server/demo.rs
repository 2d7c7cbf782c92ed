//! Publishes the built-in stream, `live/demo`, as any publisher would.

use super::conn::Grant;
use super::shard::{Publishing, Shard};
use super::signal::Signal;
use crate::caster::demo::DemoStream;
use crate::config::schema::DEFAULT_VHOST;
use crate::stream::post::{self, SourceId};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Application and stream of the demo.
pub const NAME: (&str, &str) = ("live", "demo");
/// It goes out in steps of at least this, so that it does not cost a wake-up per audio frame.
const STEP: Duration = Duration::from_millis(20);
/// After a refusal (somebody else publishes under its name) it tries again.
const RETRY: Duration = Duration::from_secs(10);

/// What its owner said.
#[derive(Debug, Default)]
pub struct Verdict {
    grant: Cell<Option<Grant>>,
    signal: Signal,
}

impl Verdict {
    /// The owner's word has come.
    pub fn set(&self, grant: Grant) {
        self.grant.set(Some(grant));
        self.signal.raise();
    }
}

/// Publishes until the shard ends.
pub async fn publish(shard: Rc<Shard>) {
    let Some(vhost) = shard.plan().vhost(DEFAULT_VHOST).cloned() else { return };
    let key = post::key(&vhost.name, NAME.0, NAME.1);
    loop {
        let verdict = Rc::new(Verdict::default());
        let source = shard.hub.borrow_mut().publish(&key, 0, &vhost.settings);
        shard.sources.borrow_mut().insert(source, Publishing::Demo(Rc::clone(&verdict)));
        shard.ctx.kick();
        verdict.signal.raised().await;
        if verdict.grant.take() == Some(Grant::Granted) {
            play(&shard, source, &verdict).await;
        }
        shard.sources.borrow_mut().remove(&source);
        shard.hub.borrow_mut().unpublish(source);
        shard.ctx.sleep(RETRY).await;
    }
}

/// Until it is revoked: an encoder took the name over.
async fn play(shard: &Shard, source: SourceId, verdict: &Verdict) {
    let mut stream = DemoStream::new();
    let began = Instant::now();
    while verdict.grant.get().is_none() {
        let mut due = Vec::new();
        stream.poll(began.elapsed(), &mut due);
        shard.hub.borrow_mut().media(source, due);
        shard.ctx.kick();
        let wait = stream.next_due().saturating_sub(began.elapsed());
        shard.ctx.sleep(wait.max(STEP)).await;
    }
}
