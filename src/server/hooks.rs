//! What a connection asks and tells an operator's backend: the hooks' end in a shard.

use super::conn::Conn;
use super::plan::{Plan, VhostPlan};
use super::shard::Shard;
use crate::config::schema::{HttpHooks, OnError};
use crate::hooks::Hook;
use crate::hooks::answer::Answer;
use crate::hooks::decision::Question;
use crate::hooks::desk::Telling;
use crate::hooks::notice::{Client, Notice};
use crate::stats::reason::CloseReason;
use crate::web::api::ids::{ClientId, IdStyle};
use std::sync::Arc;
use std::time::Duration;

/// A verdict comes at its deadline at the latest; beyond this it never will.
const SLACK: Duration = Duration::from_secs(1);
/// A page's URL is a client's own word, and may be as long as a command.
const MAX_PAGE_URL_BYTES: usize = 4096;

/// What a backend knows of a client, and is to hear the end of.
#[derive(Debug)]
pub struct Known {
    client: Client,
    /// Whose hooks these are, should it be gone by then.
    vhost: Arc<VhostPlan>,
    /// It may publish: by the on_publish of this number, if there was one.
    publish: Option<Option<u64>>,
    /// It may play.
    plays: bool,
    /// It is an RTMP client, and connected.
    closes: bool,
}

/// No: why, in a word and in full.
type Denied = (CloseReason, String);

impl HttpHooks {
    /// Where a hook is called; nowhere while hooks are off.
    fn urls(&self, hook: Hook) -> &[String] {
        if !self.enabled {
            return &[];
        }
        match hook {
            Hook::OnConnect => &self.on_connect,
            Hook::OnClose => &self.on_close,
            Hook::OnPublish => &self.on_publish,
            Hook::OnUnpublish => &self.on_unpublish,
            Hook::OnPlay => &self.on_play,
            Hook::OnStop => &self.on_stop,
        }
    }

    fn deadline(&self, hook: Hook) -> Duration {
        match hook {
            Hook::OnConnect => self.timeout.on_connect,
            Hook::OnClose => self.timeout.on_close,
            Hook::OnPublish => self.timeout.on_publish,
            Hook::OnUnpublish => self.timeout.on_unpublish,
            Hook::OnPlay => self.timeout.on_play,
            Hook::OnStop => self.timeout.on_stop,
        }
    }

    fn retries(&self, hook: Hook) -> u32 {
        match hook {
            Hook::OnConnect => self.retries.on_connect,
            Hook::OnPublish => self.retries.on_publish,
            Hook::OnPlay => self.retries.on_play,
            Hook::OnClose | Hook::OnUnpublish | Hook::OnStop => 0,
        }
    }

    fn telling(&self, hook: Hook) -> Telling {
        Telling { urls: self.urls(hook).to_vec(), timeout: self.deadline(hook), retry_for: self.retry_for }
    }

    /// Whether anything is asked or told of a client that plays or publishes.
    pub fn has_any(&self) -> bool {
        Hook::ALL.iter().any(|hook| !self.urls(*hook).is_empty())
    }
}

/// How a client's id is written for a backend: as in the API.
pub fn id_of(id: ClientId, style: IdStyle) -> serde_json::Value {
    match style {
        IdStyle::Numeric => id.0.into(),
        IdStyle::String => id.to_text(style).into(),
    }
}

/// What a client says of its page, as far as it is repeated.
pub fn page_url(said: &str) -> String {
    said.get(..MAX_PAGE_URL_BYTES).unwrap_or(said).to_owned()
}

impl Shard {
    /// An RTMP client has connected: from here on its end is told.
    pub fn note_connected(&self, conn: &Conn, vhost: &Arc<VhostPlan>, client: Client) {
        if !vhost.config.http_hooks.urls(Hook::OnClose).is_empty() {
            let vhost = Arc::clone(vhost);
            conn.set_known(Known { client, vhost, publish: None, plays: false, closes: true });
        }
    }

    /// Asks whether a client may publish or play: an RTMP client's on_connect first, as in SRS, then `hook`. If so, the vhost
    /// as it is by then: a reload may have come meanwhile.
    pub async fn ask_backend(
        &self,
        conn: &Conn,
        vhost: &Arc<VhostPlan>,
        hook: Hook,
        client: Client,
        is_rtmp: bool,
    ) -> Result<Arc<VhostPlan>, Denied> {
        if is_rtmp {
            self.ask_one(conn, vhost, Hook::OnConnect, &client).await?;
        }
        let number = self.ask_one(conn, vhost, hook, &client).await?;
        let closes = conn.known(|known| known.closes).unwrap_or(false);
        let (publish, plays) = ((hook == Hook::OnPublish).then_some(number), hook == Hook::OnPlay);
        conn.set_known(Known { client, vhost: Arc::clone(vhost), publish, plays, closes });
        let gone = || (CloseReason::VhostUnknown, format!("{}, removed or disabled by a reload", vhost.name));
        self.plan().vhost_named(&vhost.name).cloned().ok_or_else(gone)
    }

    /// Asks one hook, if it is configured; the question's number, if it was asked.
    async fn ask_one(
        &self,
        conn: &Conn,
        vhost: &VhostPlan,
        hook: Hook,
        client: &Client,
    ) -> Result<Option<u64>, Denied> {
        let hooks = &vhost.config.http_hooks;
        let urls = hooks.urls(hook);
        if urls.is_empty() {
            return Ok(None);
        }
        let unpublish = (hook == Hook::OnPublish).then(|| hooks.telling(Hook::OnUnpublish));
        let deadline = hooks.deadline(hook);
        let notice = |hook| Notice { hook, client: client.clone(), bytes: None, publish: None };
        let question = Question {
            notice: notice(hook),
            urls: urls.to_vec(),
            deadline,
            retries: hooks.retries(hook),
            unpublish: unpublish.clone(),
        };
        let desk = &self.process.desk;
        let asked = |reply: shards::Reply<_>| {
            desk.ask(question, Box::new(move |verdict| reply.reach(verdict)));
        };
        let verdict = self.ctx.ask_outside(asked, deadline + SLACK).await;
        let (number, answer, was_heard) = match verdict {
            Some(verdict) => (Some(verdict.number), verdict.answer, verdict.was_heard),
            None => (None, Answer::Failed("too many hooks are waiting".to_owned()), false),
        };
        let key = format!("{}/{}/{}", client.vhost, client.app, client.stream);
        let denied = match answer {
            Answer::Accepted => return Ok(number),
            Answer::Refused(what) => (CloseReason::HookDenied, format!("{key}: {} {what}", hook.as_str())),
            Answer::Failed(what) if hooks.on_error == OnError::Allow => {
                log::warn!("client {}: {key}: {} {what}; allowed by on_error", conn.id, hook.as_str());
                return Ok(number);
            }
            Answer::Failed(what) => (CloseReason::HookFailed, format!("{key}: {} {what}", hook.as_str())),
        };
        // It may think that the client publishes now.
        if let (Some(telling), true) = (unpublish, was_heard) {
            desk.tell(Notice { publish: number, ..notice(Hook::OnUnpublish) }, telling);
        }
        Err(denied)
    }

    /// A client publishes no more.
    pub fn tell_unpublished(&self, conn: &Conn) {
        let ended = conn.known_mut(|known| {
            let publish = known.publish.take()?;
            let notice =
                Notice { hook: Hook::OnUnpublish, client: known.client.clone(), bytes: None, publish };
            Some((notice, self.telling_of(known, Hook::OnUnpublish)))
        });
        if let Some((notice, telling)) = ended.flatten() {
            self.process.desk.tell(notice, telling);
        }
    }

    /// A client plays no more.
    pub fn tell_stopped(&self, conn: &Conn) {
        let ended = conn.known_mut(|known| {
            std::mem::take(&mut known.plays).then(|| {
                let client = known.client.clone();
                let notice = Notice { hook: Hook::OnStop, client, bytes: None, publish: None };
                (notice, self.telling_of(known, Hook::OnStop))
            })
        });
        if let Some((notice, telling)) = ended.flatten() {
            self.process.desk.tell(notice, telling);
        }
    }

    /// A client is gone.
    pub fn tell_closed(&self, conn: &Conn) {
        if let Some(known) = conn.take_known().filter(|known| known.closes) {
            let telling = self.telling_of(&known, Hook::OnClose);
            let bytes = Some((conn.sent_bytes(), conn.recv_bytes()));
            let notice = Notice { hook: Hook::OnClose, client: known.client, bytes, publish: None };
            self.process.desk.tell(notice, telling);
        }
    }

    /// As the configuration in force has it; where the vhost is gone, as it had it last.
    fn telling_of(&self, known: &Known, hook: Hook) -> Telling {
        let plan: Arc<Plan> = self.plan();
        let vhost = plan.vhost_named(&known.vhost.name).unwrap_or(&known.vhost);
        vhost.config.http_hooks.telling(hook)
    }
}
