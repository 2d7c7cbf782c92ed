//! The real binary on addresses of its own, with a configuration of its own.

use super::{PATIENCE, http, wait_for};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// All formats over HTTP.
pub const ALL_MOUNTS: &str = "mount = [\"[vhost]/[app]/[stream].flv\", \"[vhost]/[app]/[stream].ts\", \
    \"[vhost]/[app]/[stream].aac\", \"[vhost]/[app]/[stream].mp3\", \"[vhost]/[app]/[stream].live.mp4\"]\n";

/// How a server is to be started.
pub struct Setup {
    shards: u16,
    top: String,
    tables: String,
    remux: String,
    api: String,
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// All services on, no demo.
    pub fn new(shards: u16) -> Setup {
        let nothing = String::new;
        let (wrapper, environment) = (Vec::new(), Vec::new());
        let (top, tables, remux, api) = (nothing(), nothing(), nothing(), nothing());
        Setup { shards, top, tables, remux, api, wrapper, environment }
    }

    /// A command that calls `exec` on what follows it.
    pub fn under(mut self, wrapper: &[&str]) -> Setup {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lines in `http_api`.
    pub fn api(mut self, lines: &str) -> Setup {
        self.api += &format!("{lines}\n");
        self
    }

    /// Lines at the top of the configuration.
    pub fn top(mut self, lines: &str) -> Setup {
        self.top += &format!("{lines}\n");
        self
    }

    /// Lines in the default vhost's `http_remux`.
    pub fn remux(mut self, lines: &str) -> Setup {
        self.remux += &format!("{lines}\n");
        self
    }

    /// Whole tables.
    pub fn tables(mut self, tables: &str) -> Setup {
        self.tables += &format!("{tables}\n");
        self
    }

    /// Starts it, and waits until it listens.
    pub fn start(self) -> Server {
        Server::start(&self)
    }
}

/// An address that nobody else uses (with ports below those of outgoing connections), and a folder. A port that the
/// system chooses for a listener of ours is no help: another test's child holds that listener until it calls exec,
/// so connecting works while the server cannot bind.
pub fn own_place() -> (Ipv4Addr, PathBuf) {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let number = GIVEN.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    let ip = Ipv4Addr::new(127, 64 + (pid >> 8 & 63) as u8, pid as u8, 1 + number as u8);
    (ip, env::temp_dir().join(format!("srs-shard-test-{pid}-{number}")))
}

/// A running server. On drop it is told to stop and must do so in good order.
pub struct Server {
    child: Child,
    command: Command,
    folder: PathBuf,
    shards: u16,
    ip: Ipv4Addr,
    ports: [u16; 3],
}

impl Server {
    /// With all services on, no demo.
    pub fn with_shards(shards: u16) -> Server {
        Setup::new(shards).start()
    }

    fn start(setup: &Setup) -> Server {
        let (ip, folder) = own_place();
        let ports = [21935, 28080, 21985];
        let [rtmp, http, api] = ports;
        let dir = folder.join("html");
        fs::create_dir_all(&dir).expect("a temporary folder");
        let toml = format!(
            "listen = [\"{ip}:{rtmp}\"]\n{top}\
             [http_api]\nenabled = true\nlisten = [\"{ip}:{api}\"]\n{more_api}\
             [http_server]\nenabled = true\nlisten = [\"{ip}:{http}\"]\ndir = \"{dir}\"\n\
             [vhost.__defaultVhost__.http_remux]\nenabled = true\n{ALL_MOUNTS}{remux}{tables}",
            dir = dir.display(),
            top = setup.top,
            remux = setup.remux,
            more_api = setup.api,
            tables = setup.tables,
        );
        fs::write(folder.join("server.toml"), toml).expect("a configuration");
        let words = setup.wrapper.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_srs-shard")]);
        let words: Vec<String> = words.map(str::to_owned).collect();
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .envs(setup.environment.iter().map(|(name, value)| (name, value)))
            .arg("-c")
            .arg(folder.join("server.toml"))
            .args(["--no-pin", "--cores", &setup.shards.to_string()]);
        let child = Server::spawn(&mut command, &folder);
        let mut server = Server { child, command, folder, shards: setup.shards, ip, ports };
        server.wait_listening();
        server
    }

    fn spawn(command: &mut Command, folder: &Path) -> Child {
        let log = fs::File::options().append(true).create(true).open(folder.join("log")).expect("a log");
        command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("the server starts")
    }

    fn launch(&mut self) {
        self.child = Server::spawn(&mut self.command, &self.folder);
        self.wait_listening();
    }

    fn wait_listening(&mut self) {
        let end = Instant::now() + PATIENCE;
        for port in self.ports {
            while TcpStream::connect((self.ip, port)).is_err() {
                if let Ok(Some(status)) = self.child.try_wait() {
                    panic!("the server ended: {status}\n{}", self.log());
                }
                assert!(Instant::now() < end, "the server does not listen\n{}", self.log());
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Number of its shards.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// Its address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ports of RTMP, HTTP and API.
    pub fn ports(&self) -> [u16; 3] {
        self.ports
    }

    /// `http_server.dir`.
    pub fn dir(&self) -> PathBuf {
        self.folder.join("html")
    }

    /// A place for files of this test, gone with the server.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `rtmp://…/live/<stream>`.
    pub fn rtmp(&self, stream: &str) -> String {
        format!("rtmp://{}:{}/live/{stream}", self.ip, self.ports[0])
    }

    /// On the HTTP server.
    pub fn http(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.ip, self.ports[1])
    }

    /// `host:port` of the HTTP server.
    pub fn http_at(&self) -> (Ipv4Addr, u16) {
        (self.ip, self.ports[1])
    }

    /// `host:port` of the API.
    pub fn api_at(&self) -> (Ipv4Addr, u16) {
        (self.ip, self.ports[2])
    }

    /// What the API says.
    pub fn api(&self, path: &str) -> Value {
        let answer = http::get(self.api_at(), path);
        assert_eq!(answer.status, 200, "{path}");
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// All clients (the API lists ten unless told).
    pub fn clients(&self) -> Vec<ApiClient> {
        let all = self.api("/api/v1/clients/?count=10000");
        let bits = u16::BITS - self.shards.saturating_sub(1).leading_zeros();
        let client = |client: &Value| {
            let id: u64 = client["id"].as_str().expect("an id").parse().expect("a number");
            let shard = (id & ((1 << bits) - 1)) as u16;
            assert_eq!(client["shard"], shard, "a client's id names its shard");
            ApiClient {
                id,
                shard,
                name: client["name"].as_str().expect("a name").to_owned(),
                publish: client["publish"].as_bool().expect("a flag"),
                format: client["format"].as_str().map(str::to_owned),
                queued_bytes: client["queued_bytes"].as_u64().expect("a number"),
            }
        };
        all["clients"].as_array().expect("clients").iter().map(client).collect()
    }

    /// Clients of one stream.
    pub fn clients_of(&self, stream: &str) -> Vec<ApiClient> {
        self.clients().into_iter().filter(|client| client.name == stream).collect()
    }

    /// A stream, if there is one.
    pub fn stream(&self, name: &str) -> Option<Value> {
        let all = self.api("/api/v1/streams/?count=10000");
        all["streams"].as_array().expect("streams").iter().find(|stream| stream["name"] == name).cloned()
    }

    /// Whether a stream is being published.
    pub fn is_published(&self, name: &str) -> bool {
        self.stream(name).is_some_and(|stream| stream["publish"]["active"] == true)
    }

    /// Waits until a stream is being published.
    pub fn wait_published(&self, name: &str) {
        wait_for(&format!("{name} to be published\n{}", self.log()), || {
            self.is_published(name).then_some(())
        });
    }

    /// Waits until a stream is no longer published.
    pub fn wait_unpublished(&self, name: &str) {
        wait_for(&format!("{name} to end"), || (!self.is_published(name)).then_some(()));
    }

    /// Waits until so many viewers of a stream are attached.
    pub fn wait_viewers(&self, name: &str, viewers: usize) {
        wait_for(&format!("{viewers} viewers of {name}"), || {
            let here = self.clients_of(name).iter().filter(|client| !client.publish).count();
            (here >= viewers).then_some(())
        });
    }

    /// Closes a client; true if there was one.
    pub fn kick(&self, id: u64) -> bool {
        let path = format!("/api/v1/clients/{id}");
        let answer = http::request(self.api_at(), "DELETE", &path, &[]);
        let value: Value = serde_json::from_slice(&answer.body).expect("JSON");
        value["code"] == 0
    }

    /// Once a stream's RTMP players have been sent all there is, closes them: as in SRS they stay for the next
    /// publisher, and a test has to end.
    pub fn release_players(&self, name: &str) {
        wait_for(&format!("the players of {name} to have everything"), || {
            let behind = |client: &ApiClient| client.queued_bytes > 0;
            (!self.clients_of(name).iter().any(behind)).then_some(())
        });
        for client in self.clients_of(name) {
            if client.format.as_deref() == Some("rtmp") {
                self.kick(client.id);
            }
        }
    }

    /// Its configuration, as it stands in the file.
    pub fn configuration(&self) -> String {
        fs::read_to_string(self.folder.join("server.toml")).expect("our own file")
    }

    /// Writes another configuration and has it read; what the log says of that.
    pub fn reload(&self, configuration: &str) -> Vec<String> {
        fs::write(self.folder.join("server.toml"), configuration).expect("our own file");
        let said = || -> Vec<String> {
            let log = self.log();
            let of_reloads = log.lines().filter_map(|line| line.split_once("reload: ").map(|(_, said)| said));
            of_reloads.map(str::to_owned).collect()
        };
        let before = said().len();
        super::tool::signal(self.pid(), "HUP");
        wait_for("the reload", || {
            let new = said().split_off(before);
            new.last().is_some_and(|last| last.contains(" in force")).then_some(new)
        })
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A value of `/proc/<pid>/status`, in KiB.
    pub fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|text| text.split_whitespace().next()?.parse().ok()).expect("a number")
    }

    /// CPU time that it has used so far, in ms.
    pub fn cpu_ms(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("its times");
        // After the name in brackets: utime and stime are the 12th and 13th, in ticks of 10 ms.
        let fields = text.rsplit_once(')').expect("a name").1.split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().expect("ticks") * 10).sum()
    }

    /// A counter of `/metrics`, all its labels that contain `label` together.
    pub fn metric(&self, name: &str, label: &str) -> u64 {
        let answer = http::get(self.api_at(), "/metrics");
        let mine = answer.text().lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        });
        mine.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a number")).sum()
    }

    /// Open files.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("its descriptors").count()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        super::tool::signal(self.pid(), name);
    }

    /// Waits for a text in its log.
    pub fn wait_log(&self, part: &str) {
        wait_for(&format!("{part:?} in the log"), || self.log().contains(part).then_some(()));
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the server's end", || self.child.try_wait().expect("our child"))
    }

    /// Tells it to drain; whether that ended it in time.
    pub fn drains_within(&mut self, limit: Duration) -> bool {
        self.signal("QUIT");
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if self.child.try_wait().expect("our child").is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Kills it, and starts it again as it was.
    pub fn kill_and_start(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
        self.launch();
    }

    /// Tells it to stop and returns how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        if let Some(status) = self.child.try_wait().expect("our child") {
            return status;
        }
        super::tool::signal(self.pid(), "TERM");
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            if Instant::now() > end {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let status = self.stop();
        let log = self.log();
        let _ = fs::remove_dir_all(&self.folder);
        if thread::panicking() {
            eprintln!("---- the server ended with {status}; its log:\n{log}----");
            return;
        }
        assert!(status.success(), "the server ended with {status}\n{log}");
        let injected = cfg!(feature = "fault-injection");
        assert!(injected || !log.contains("panicked"), "a panic in the server\n{log}");
    }
}

/// A client, as the API tells it.
#[derive(Clone, Debug)]
pub struct ApiClient {
    pub id: u64,
    pub shard: u16,
    pub name: String,
    pub publish: bool,
    pub format: Option<String>,
    pub queued_bytes: u64,
}
