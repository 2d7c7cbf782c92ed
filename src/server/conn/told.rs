//! What the log says of a connection: a line when it begins to publish or play, and one when it ends.

use super::{About, Conn};
use crate::server::{http_conn, rtmp_conn};
use crate::stats::reason::Reason;
use crate::stream::encode::Format;
use crate::web::api::ids::IdStyle;

impl About {
    fn what(&self) -> String {
        let format = self.format.map_or("", Format::as_str);
        format!("{} {format} {}", self.kind.as_str(), self.key)
    }
}

impl Conn {
    /// The first line in the log of what it does; [`summary`] is the last.
    pub fn tell_begin(&self, ids: IdStyle) {
        let Some((format, what)) = self.about(|about| (about.format, about.what())) else { return };
        let over_http = format.is_some_and(|format| !matches!(format, Format::Rtmp { .. }));
        let (target, protocol) = match over_http {
            true => (http_conn::LOG_TARGET, "http"),
            false => (rtmp_conn::LOG_TARGET, "rtmp"),
        };
        let (id, peer, proxied) = (self.id.to_text(ids), self.outlet.tcp.peer(), self.proxied());
        log::info!(target: target, "client {id} {protocol} {peer}{proxied} begins {what}");
    }

    fn proxied(&self) -> String {
        let proxied = self.about(|about| about.ip).filter(|ip| *ip != self.outlet.tcp.peer().ip());
        proxied.map_or(String::new(), |ip| format!(" for {ip}"))
    }
}

/// The session's last line in the log.
pub fn summary(conn: &Conn, protocol: &str, ids: IdStyle, now_ms: u64) -> String {
    let (peer, proxied) = (conn.outlet.tcp.peer(), conn.proxied());
    let who = conn.about(About::what);
    let (worst_ms, jumps) = conn.view.get();
    let detail = conn.detail.borrow().as_ref().map_or(String::new(), |detail| format!(" ({detail})"));
    format!(
        "client {} {protocol} {peer}{proxied} {}: {}{detail} after {:.1} s, recv {} sent {} bytes, worst lag {worst_ms} ms, jumps {jumps}",
        conn.id.to_text(ids),
        who.as_deref().unwrap_or("-"),
        conn.reason().map_or("peer_closed", Reason::as_str),
        now_ms.saturating_sub(conn.since_ms) as f64 / 1000.0,
        conn.recv_bytes(),
        conn.sent_bytes(),
    )
}
