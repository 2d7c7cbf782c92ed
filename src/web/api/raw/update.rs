//! `rpc=update`: SRS's scopes, what values each takes, and which change of the configuration that is.

use crate::config::edit::{Edit, Setting, has_key};
use crate::http::request::Request;

/// Why an update is refused before anybody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no such scope here, or nothing of that kind can be done in it.
    NotAllowed(String),
    /// The value, or what goes with it, is not one that the scope takes.
    Params(String),
}

/// SRS's scopes that are a key at the top level, and what each takes. A key that the schema does not have is refused.
const SCOPES: [(&str, Takes); 10] = [
    ("listen", Takes::Ports),
    ("pid", Takes::File(".pid")),
    ("chunk_size", Takes::Number(128, 65_535)),
    ("ff_log_dir", Takes::Folder),
    ("srs_log_tank", Takes::Word(&["file", "console"])),
    ("srs_log_level", Takes::Word(&["verbose", "info", "trace", "warn", "error"])),
    ("srs_log_file", Takes::File(".log")),
    ("max_connections", Takes::Number(10, 65_535)),
    ("utc_time", Takes::Switch),
    ("pithy_print_ms", Takes::Number(100, 300_000)),
];
/// Files may be below these only.
const FOLDERS: [&str; 3] = ["./", "/tmp/", "/var/"];
/// SRS listens on no others for an update.
const PORTS: std::ops::RangeInclusive<u16> = 3..=65_534;

/// What a scope takes.
#[derive(Clone, Copy, Debug)]
enum Takes {
    /// Ports or addresses with ports, with commas between them.
    Ports,
    Number(u32, u32),
    Word(&'static [&'static str]),
    Switch,
    /// A path below [`FOLDERS`] that ends so.
    File(&'static str),
    Folder,
}

/// The change that a request asks for.
pub(super) fn edit(request: &Request) -> Result<Edit, Refused> {
    let asked = |name| request.query.value(name).unwrap_or_default();
    let (scope, value) = (asked("scope"), asked("value"));
    match scope {
        "vhost" => vhost(value, asked("param"), asked("data")),
        "dvr" => Err(Refused::NotAllowed("dvr: nothing is recorded by this version".to_owned())),
        _ => {
            let Some((key, takes)) = SCOPES.iter().find(|(name, _)| *name == scope) else {
                return Err(Refused::NotAllowed(format!("scope {scope:?}: there is none of this name")));
            };
            if !has_key(key) {
                return Err(Refused::NotAllowed(format!("{key}: this version has no such key")));
            }
            let wrong = || Refused::Params(format!("{key}: found {value:?}; allowed: {}", takes.allowed()));
            Ok(Edit::Set { key: scope.to_owned(), to: takes.read(value).ok_or_else(wrong)? })
        }
    }
}

fn vhost(name: &str, action: &str, data: &str) -> Result<Edit, Refused> {
    const ACTIONS: [&str; 5] = ["create", "update", "delete", "disable", "enable"];
    if !ACTIONS.contains(&action) {
        let allowed = ACTIONS.join(", ");
        return Err(Refused::NotAllowed(format!("param: found {action:?}; allowed: {allowed}")));
    }
    if name.is_empty() {
        return Err(Refused::Params("value: the name of a vhost is missing".to_owned()));
    }
    let name = name.to_owned();
    Ok(match action {
        "create" => Edit::AddVhost(name),
        "update" if data.is_empty() || data == name => {
            return Err(Refused::Params("data: a new name of the vhost is missing".to_owned()));
        }
        "update" => Edit::RenameVhost { from: name, to: data.to_owned() },
        "delete" => Edit::RemoveVhost(name),
        "disable" => Edit::DisableVhost(name),
        _ => Edit::EnableVhost(name),
    })
}

impl Takes {
    fn read(self, value: &str) -> Option<Setting> {
        let below = |ends: &str| {
            let is_below = FOLDERS.iter().any(|folder| value.starts_with(folder));
            (is_below && value.ends_with(ends) && !value.split('/').any(|part| part == ".."))
                .then(|| Setting::Text(value.to_owned()))
        };
        match self {
            Takes::Ports => value.split(',').map(port).collect::<Option<Vec<_>>>().map(Setting::List),
            Takes::Number(least, most) => {
                number(value).filter(|n| (least..=most).contains(n)).map(Setting::Integer)
            }
            Takes::Word(words) => words.contains(&value).then(|| Setting::Text(value.to_owned())),
            Takes::Switch => value.parse().ok().map(Setting::Switch),
            Takes::File(ends) => below(ends),
            Takes::Folder if value == "/dev/null" => Some(Setting::Text(value.to_owned())),
            Takes::Folder => below(""),
        }
    }

    fn allowed(self) -> String {
        let folders = FOLDERS.join(", ");
        match self {
            Takes::Ports => {
                let (least, most) = PORTS.into_inner();
                format!(
                    "ports from {least} to {most}, or addresses with such ports, with commas between them"
                )
            }
            Takes::Number(least, most) => format!("a number from {least} to {most}"),
            Takes::Word(words) => words.join(", "),
            Takes::Switch => "true, false".to_owned(),
            Takes::File(ends) => format!("a path below {folders}, without .., that ends in {ends}"),
            Takes::Folder => format!("/dev/null or a path below {folders}, without .."),
        }
    }
}

/// `1935`, which is every address, or `127.0.0.1:1935`.
fn port(text: &str) -> Option<Setting> {
    let good = |port: &u16| PORTS.contains(port);
    match text.rsplit_once(':') {
        None => number(text)?.try_into().ok().filter(good).map(|port| Setting::Integer(port.into())),
        Some(_) => {
            let at: std::net::SocketAddr = text.parse().ok()?;
            good(&at.port()).then(|| Setting::Text(text.to_owned()))
        }
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Event, Parser};

    fn asked(query: &str) -> Result<Edit, Refused> {
        let mut parser = Parser::default();
        let head = format!("POST /api/v1/raw?rpc=update&{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        parser.feed(head.as_bytes());
        match parser.poll() {
            Ok(Some(Event::Request(request))) => edit(&request),
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn scopes_take_what_srs_takes() {
        let set = |key: &str, to| Ok(Edit::Set { key: key.to_owned(), to });
        let words = |text: &str| Setting::Text(text.to_owned());
        let ports = vec![Setting::Integer(1935), words("127.0.0.1:1936"), words("[::1]:1937")];
        let found = asked("scope=listen&value=1935,127.0.0.1:1936,[::1]:1937");
        assert_eq!(found, set("listen", Setting::List(ports)));
        for (key, value) in [("chunk_size", 128), ("chunk_size", 65_535), ("max_connections", 10)] {
            assert_eq!(asked(&format!("scope={key}&value={value}")), set(key, Setting::Integer(value)));
        }
        for (key, value) in [
            ("srs_log_tank", "console"),
            ("srs_log_level", "verbose"),
            ("srs_log_file", "./objs/srs.log"),
            ("srs_log_file", "/var/log/a.log"),
        ] {
            assert_eq!(asked(&format!("scope={key}&value={value}")), set(key, words(value)));
        }
        for wrong in [
            "listen&value=2",
            "listen&value=1935,",
            "listen&value=65535",
            "listen&value=host:1935",
            "listen&value=",
            "chunk_size&value=127",
            "chunk_size&value=65536",
            "chunk_size&value=%2B200",
            "chunk_size&value=99999999999",
            "srs_log_tank&value=printer",
            "srs_log_level",
            "srs_log_file&value=/etc/a.log",
            "srs_log_file&value=./../a.log",
            "srs_log_file&value=./a.txt",
            "max_connections&value=9",
            "vhost&param=create",
            "vhost&param=update&value=a&data=a",
            "vhost&param=update&value=a",
        ] {
            assert!(matches!(asked(&format!("scope={wrong}")), Err(Refused::Params(_))), "{wrong}");
        }
        for wrong in [
            "",
            "scope=",
            "scope=hls",
            "scope=dvr&value=a&param=enable&data=live/a",
            "scope=vhost&value=a&param=x",
        ] {
            assert!(matches!(asked(wrong), Err(Refused::NotAllowed(_))), "{wrong}");
        }
        for (key, takes) in SCOPES.iter().filter(|(key, _)| !has_key(key)) {
            let text = format!("{key}: this version has no such key");
            assert_eq!(asked(&format!("scope={key}&value=1")), Err(Refused::NotAllowed(text)), "{takes:?}");
        }
    }

    #[test]
    fn values_of_keys_that_may_come() {
        assert_eq!(Takes::Switch.read("true"), Some(Setting::Switch(true)));
        assert_eq!(Takes::Switch.read("on"), None);
        assert_eq!(Takes::Folder.read("/dev/null"), Some(Setting::Text("/dev/null".to_owned())));
        assert_eq!(Takes::Folder.read("/etc"), None);
        assert!(Takes::File(".pid").read("/var/run/a.pid").is_some());
    }

    #[test]
    fn vhosts_are_edited_by_their_names() {
        let name = || "a.example".to_owned();
        for (param, edit) in [
            ("create", Edit::AddVhost(name())),
            ("update&data=b", Edit::RenameVhost { from: name(), to: "b".to_owned() }),
            ("delete", Edit::RemoveVhost(name())),
            ("disable", Edit::DisableVhost(name())),
            ("enable", Edit::EnableVhost(name())),
        ] {
            assert_eq!(asked(&format!("scope=vhost&value=a.example&param={param}")), Ok(edit));
        }
    }
}
