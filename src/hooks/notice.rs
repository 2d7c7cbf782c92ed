//! What a backend is sent: SRS 3.0's members in their order, then those of later versions, then ours.

use super::Hook;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// The client that it is about, and what that wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its id as the API writes it: an integer, or text.
    pub id: Value,
    /// Its address.
    pub ip: IpAddr,
    /// The vhost that serves it.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// What it connected to.
    pub tc_url: String,
    /// The page that embeds it.
    pub page_url: String,
    /// Stream; empty where it has not named one.
    pub stream: String,
    /// The stream's parameters, without `?`.
    pub params: String,
    /// The server that it is a client of: ids are unique within one.
    pub server: Server,
}

/// Who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `server_id`: made at each start.
    pub server_id: String,
    /// `service_id`: made at each start.
    pub service_id: String,
}

impl Client {
    /// The client, among those of all servers.
    pub fn lane(&self) -> String {
        format!("{}/{}/{}", self.server.server_id, self.server.service_id, self.id)
    }

    /// Its stream.
    pub fn stream_key(&self) -> String {
        format!("{}/{}/{}", self.vhost, self.app, self.stream)
    }
}

/// What happened, or is about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What.
    pub hook: Hook,
    /// To whom.
    pub client: Client,
    /// Bytes sent to it and received from it, where that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<(u64, u64)>,
    /// The number of the on_publish that this ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<u64>,
}

impl Notice {
    /// The body of the request; `number` counts what a backend is asked and told.
    pub fn body(&self, number: u64) -> String {
        let Client { id, ip, vhost, app, tc_url, page_url, stream, params, server } = &self.client;
        let param = if params.is_empty() { String::new() } else { format!("?{params}") };
        let mut body = Map::new();
        let mut add = |name: &str, value: Value| {
            body.entry(name).or_insert(value);
        };
        add("action", json!(self.hook.as_str()));
        add("client_id", id.clone());
        add("ip", json!(ip.to_canonical()));
        add("vhost", json!(vhost));
        add("app", json!(app));
        if matches!(self.hook, Hook::OnConnect | Hook::OnPublish) {
            add("tcUrl", json!(tc_url));
        }
        if self.hook == Hook::OnConnect {
            add("pageUrl", json!(page_url));
        }
        if let Some((sent, received)) = self.bytes {
            add("send_bytes", json!(sent));
            add("recv_bytes", json!(received));
        }
        if self.hook.has_stream() {
            add("stream", json!(stream));
            add("param", json!(param));
        }
        if self.hook == Hook::OnPlay {
            add("pageUrl", json!(page_url));
        }
        // SRS 5 and later have these, first; at the end nobody trips over them.
        add("tcUrl", json!(tc_url));
        if self.hook.has_stream() {
            add("stream_url", json!(format!("/{app}/{stream}")));
        }
        add("server_id", json!(server.server_id));
        add("service_id", json!(server.service_id));
        add("event", json!(number));
        if let Some(publish) = self.publish {
            add("publish_event", json!(publish));
        }
        Value::Object(body).to_string()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::hooks) fn client(id: u64, stream: &str) -> Client {
        Client {
            id: json!(id),
            ip: "192.168.1.10".parse().unwrap(),
            vhost: "v.example".to_owned(),
            app: "live".to_owned(),
            tc_url: "rtmp://v.example/live?key=1".to_owned(),
            page_url: "http://www.test.com/live.html".to_owned(),
            stream: stream.to_owned(),
            params: "token=xxx&salt=y\"y".to_owned(),
            server: Server { server_id: "vid-1".to_owned(), service_id: "abc".to_owned() },
        }
    }

    #[test]
    fn members_are_those_of_srs_in_its_order_then_ours() {
        let body = |hook| {
            let bytes = (hook == Hook::OnClose).then_some((10240, 10));
            let publish = (hook == Hook::OnUnpublish).then_some(6);
            Notice { hook, client: client(1985, "livestream"), bytes, publish }.body(7)
        };
        let head = |name: &str| {
            format!(
                r#"{{"action":"{name}","client_id":1985,"ip":"192.168.1.10","vhost":"v.example","app":"live","#
            )
        };
        const TC: &str = r#""tcUrl":"rtmp://v.example/live?key=1""#;
        const PAGE: &str = r#""pageUrl":"http://www.test.com/live.html""#;
        const STREAM: &str = r#""stream":"livestream","param":"?token=xxx&salt=y\"y""#;
        const URL: &str = r#""stream_url":"/live/livestream""#;
        const US: &str = r#""server_id":"vid-1","service_id":"abc","event":7"#;
        assert_eq!(body(Hook::OnConnect), format!("{}{TC},{PAGE},{US}}}", head("on_connect")));
        assert_eq!(
            body(Hook::OnClose),
            format!(r#"{}"send_bytes":10240,"recv_bytes":10,{TC},{US}}}"#, head("on_close"))
        );
        assert_eq!(body(Hook::OnPublish), format!("{}{TC},{STREAM},{URL},{US}}}", head("on_publish")));
        assert_eq!(
            body(Hook::OnUnpublish),
            format!(r#"{}{STREAM},{TC},{URL},{US},"publish_event":6}}"#, head("on_unpublish"))
        );
        assert_eq!(body(Hook::OnPlay), format!("{}{STREAM},{PAGE},{TC},{URL},{US}}}", head("on_play")));
        assert_eq!(body(Hook::OnStop), format!("{}{STREAM},{TC},{URL},{US}}}", head("on_stop")));
    }

    #[test]
    fn ids_are_numbers_or_text_and_what_is_not_there_is_empty() {
        let some = Client { id: json!("1b2d3f4g"), params: String::new(), ..client(1, "s") };
        let body = Notice { hook: Hook::OnPlay, client: some, bytes: None, publish: None }.body(1);
        assert!(body.contains(r#""client_id":"1b2d3f4g","#), "{body}");
        assert!(body.contains(r#""param":"","#), "{body}");
    }

    #[test]
    fn an_address_of_ipv4_is_written_as_one_whatever_socket_it_came_over() {
        let some = Client { ip: "::ffff:10.0.0.1".parse().unwrap(), ..client(1, "s") };
        let body = Notice { hook: Hook::OnStop, client: some, bytes: None, publish: None }.body(1);
        assert!(body.contains(r#""ip":"10.0.0.1","#), "{body}");
    }
}
