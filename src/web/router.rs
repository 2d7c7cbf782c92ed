//! What a request on the media port is for, in the order in which paths are looked up there.

use super::live::{LiveRequest, Mounts};
use super::page;
use crate::config::Config;
use crate::http::request::Request;

/// What a request on the media port (`http_server`) is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaRoute {
    /// The path of the API that this port answers as well: versions, which edges use as a health check.
    Api,
    /// The player page or what it loads: a path below [`page::ROOT`].
    PlayerPage,
    /// 302 to this path; the query is to be kept.
    Redirect(String),
    /// A stream if it is published now, else a file if there is one, else the stream (which may wait) or 404.
    /// `/` without an index file of the user's is the player page.
    Media {
        /// The stream that a mount template makes of the path.
        live: Option<LiveRequest>,
    },
}

/// What is the API's where it shares the media port.
pub fn is_api_path(path: &str) -> bool {
    path == "/metrics" || path == "/api" || path.starts_with("/api/")
}

/// Routes a request on the media port. Of the API it has the versions only, as SRS: players look there.
pub fn route_media(request: &Request, config: &Config, mounts: &Mounts) -> MediaRoute {
    let path = request.path.as_str();
    if path == "/api/v1/versions" {
        return MediaRoute::Api;
    }
    if path.starts_with(page::ROOT) {
        return MediaRoute::PlayerPage;
    }
    if page::ROOT.strip_suffix('/') == Some(path) {
        return MediaRoute::Redirect(page::ROOT.into());
    }
    let host = request.query.value("vhost").unwrap_or(&request.host);
    MediaRoute::Media { live: mounts.find(config, host, path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mount::Mount;
    use crate::config::schema::{DEFAULT_VHOST, HttpRemux, Vhost};

    fn get(target: &str) -> Request {
        let mut parser = crate::http::request::Parser::default();
        parser.feed(format!("GET {target} HTTP/1.1\r\nHost: h:80\r\n\r\n").as_bytes());
        match parser.poll() {
            Ok(Some(crate::http::request::Event::Request(request))) => *request,
            other => panic!("{target}: {other:?}"),
        }
    }

    #[test]
    fn the_media_port() {
        let vhost = |template| {
            let mount = vec![Mount::parse(template).expect("a good template")];
            Vhost {
                http_remux: HttpRemux { enabled: true, mount, ..HttpRemux::default() },
                ..Vhost::default()
            }
        };
        let vhosts = [
            (DEFAULT_VHOST.to_owned(), vhost("[vhost]/[app]/[stream].flv")),
            ("other".to_owned(), vhost("[vhost]/[app]/[stream].ts")),
        ];
        let config = Config { vhosts: vhosts.into(), ..Config::default() };
        let mounts = Mounts::new(&config);
        let stream = |vhost: &str, at: &str| mounts.find(&config, vhost, at);
        for (target, route) in [
            ("/api/v1/versions", MediaRoute::Api),
            ("/api/v1/streams/", MediaRoute::Media { live: None }),
            ("/_live", MediaRoute::Redirect("/_live/".into())),
            ("/_live/", MediaRoute::PlayerPage),
            ("/_live/a.js?x", MediaRoute::PlayerPage),
            ("/", MediaRoute::Media { live: None }),
            ("/live/a.flv", MediaRoute::Media { live: stream("h", "/live/a.flv") }),
            ("/live/a.ts?vhost=other", MediaRoute::Media { live: stream("other", "/live/a.ts") }),
            ("/live/a.ts", MediaRoute::Media { live: None }),
        ] {
            assert_eq!(route_media(&get(target), &config, &mounts), route, "{target}");
        }
        assert!(stream("h", "/live/a.flv").is_some() && stream("other", "/live/a.ts").is_some());
    }
}
