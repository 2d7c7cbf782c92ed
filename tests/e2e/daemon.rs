//! Goal: in the background, under another user, with a pid file, and when it cannot start, the server does what init
//! scripts and shells expect.
//! Method: the real command as a shell runs it: its exit code, what it printed, and what `/proc` says of the daemon.

#![allow(clippy::print_stderr)] // what a failed test has to say, or could not test

use crate::support::http::get;
use crate::support::server::own_place;
use crate::support::tool::signal;
use crate::support::wait_for;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, thread};

const RTMP: u16 = 21935;
const HTTP: u16 = 28080;
const NOBODY: &str = "nobody";

/// A folder to start the command in, and an address for it. On drop the daemon is told to stop.
struct Place {
    folder: PathBuf,
    ip: Ipv4Addr,
}

impl Place {
    fn new() -> Place {
        let (ip, folder) = own_place();
        fs::create_dir_all(&folder).expect("a temporary folder");
        Place { folder, ip }
    }

    /// Writes `server.toml`: these lines, and RTMP and HTTP.
    fn configure(&self, top: &str) {
        let ip = self.ip;
        let listen =
            if top.contains("listen =") { String::new() } else { format!("listen = \"{ip}:{RTMP}\"\n") };
        let toml = format!(
            "{listen}{top}\n[http_server]\nenabled = true\nlisten = \"{ip}:{HTTP}\"\ndir = \"html\"\n[vhost.a]\n"
        );
        fs::write(self.folder.join("server.toml"), toml).expect("a configuration");
    }

    /// Runs the command, until it and whoever has its output have let go of it.
    fn command(&self) -> Output {
        self.start(&mut Command::new(env!("CARGO_BIN_EXE_srs-shard")))
    }

    fn start(&self, command: &mut Command) -> Output {
        let command = command.args(["-c", "server.toml", "--no-pin", "--cores", "2"]);
        command.current_dir(&self.folder).output().expect("the command")
    }

    fn up(&self) {
        let output = self.command();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }

    /// The number in the pid file.
    fn pid(&self) -> Option<u32> {
        self.pid_in("objs/srs.pid")
    }

    fn pid_in(&self, file: &str) -> Option<u32> {
        let file = self.folder.join(file);
        // A pipe would be waited for.
        fs::metadata(&file).ok().filter(fs::Metadata::is_file)?;
        fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }

    fn answers(&self) -> bool {
        TcpStream::connect((self.ip, HTTP)).is_ok() && get((self.ip, HTTP), "/").status == 200
    }

    fn wait_log(&self, file: &str, part: &str) {
        wait_for(&format!("{part:?} in {file}"), || self.read(file).contains(part).then_some(()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) =
            ["objs/srs.pid", "x.pid", "run/x.pid", "deep/objs/srs.pid"].iter().find_map(|at| self.pid_in(at))
            && is_ours(pid)
        {
            let _ = Command::new("kill").arg(pid.to_string()).status();
            wait_gone(pid);
        }
        if thread::panicking() {
            eprintln!("---- the log:\n{}----", self.read("objs/srs.log"));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_ours(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "srs-shard")
}

fn wait_gone(pid: u32) {
    wait_for("the daemon's end", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        // In a container nobody may take its exit code.
        stat.map_or(true, |stat| stat.contains(") Z ")).then_some(())
    });
}

/// Fields of `/proc/PID/stat` after the name: state, parent, group, session, terminal.
fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its state");
    stat.rsplit_once(") ").expect("a name").1.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_daemon_is_up_when_the_command_returns_and_leaves_nothing() {
    let place = Place::new();
    place.configure("daemon = true");
    place.up();
    assert!(place.answers(), "at once");
    let pid = place.pid().expect("the pid file is there");
    assert!(is_ours(pid));
    let stat = stat(pid);
    assert_ne!(stat[1], std::process::id().to_string(), "it is no child of the shell's");
    assert_ne!(stat[3], pid.to_string(), "it leads no session, so it cannot get a terminal");
    assert_eq!(stat[4], "0", "it has no terminal");
    for fd in 0..3 {
        let at = fs::read_link(format!("/proc/{pid}/fd/{fd}")).expect("a descriptor");
        assert_eq!(at, Path::new("/dev/null"), "{fd}");
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    assert!(status.contains("Umask:\t0022"), "{status}");
    place.wait_log("objs/srs.log", &format!("process {pid}, in {}", place.folder.display()));

    // A second one says who holds the file, touches neither it nor the log, and the first one goes on.
    let log = place.read("objs/srs.log");
    let second = place.command();
    assert_eq!(second.status.code(), Some(7), "{second:?}");
    assert_eq!(
        String::from_utf8_lossy(&second.stderr),
        format!("pid file ./objs/srs.pid: process {pid} holds it\n")
    );
    assert_eq!(place.pid(), Some(pid));
    assert_eq!(place.read("objs/srs.log"), log);
    assert!(place.answers());

    signal(pid, "TERM");
    wait_gone(pid);
    assert!(!place.folder.join("objs/srs.pid").exists());
    assert!(place.read("objs/srs.log").trim_end().ends_with("stopped"));
    // A number that a crash left behind keeps nobody out.
    fs::write(place.folder.join("objs/srs.pid"), format!("{}\n", std::process::id())).expect("a file");
    place.up();
    assert_ne!(place.pid(), Some(std::process::id()));
    signal(place.pid().expect("it is there"), "KILL");
}

#[test]
fn whoever_starts_it_gets_the_exit_code_and_the_reason() {
    let place = Place::new();
    let taken = TcpListener::bind((place.ip, RTMP + 1)).expect("a port");
    let listen = format!("listen = \"{}:{}\"", place.ip, RTMP + 1);
    let starts = |top: &str, code: i32, why: &str| {
        for daemon in ["daemon = true\n", "srs_log_tank = \"file\"\n", ""] {
            place.configure(&format!("{daemon}{top}"));
            let output = place.command();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{daemon}{top}: {said}");
            assert!(said.contains(why), "{daemon}{top}: {said}");
            assert!(place.pid().is_none_or(|pid| !is_ours(pid)), "{daemon}{top}");
        }
    };
    starts("chunk_size = 1", 1, ": chunk_size: found 1; allowed: ");
    starts("group = \"nobody\"", 1, "group: user must say whose group it is");
    starts(&listen, 5, "cannot listen on 127.");
    starts("pid = \"/proc/none/x.pid\"", 8, "folder /proc/none: cannot be made: ");
    starts("pid = \"/\"", 8, "pid file /: cannot be opened: Is a directory");
    starts("user = \"no-such-user\"", 9, "user no-such-user: there is none of that name or number");
    starts("work_dir = \"/proc/none\"", 10, "work_dir /proc/none: cannot be entered: ");
    place.configure("daemon = true\nsrs_log_file = \"/proc/version/x.log\"");
    let output = place.command();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/proc/version"), "{output:?}");
    place.configure("daemon = true\nsrs_log_tank = \"console\"");
    let output = place.command();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("a daemon has no console"), "{output:?}");
    drop(taken);
}

#[test]
fn relative_paths_begin_in_work_dir_but_the_configuration_s() {
    let place = Place::new();
    fs::create_dir_all(place.folder.join("deep/html")).expect("a folder");
    fs::write(place.folder.join("deep/html/here.txt"), "deep").expect("a file");
    place.configure("daemon = true\nwork_dir = \"deep\"");
    place.up();
    let pid = place.pid_in("deep/objs/srs.pid").expect("the pid file is there");
    assert_eq!(get((place.ip, HTTP), "/here.txt").text(), "deep");
    place.configure("daemon = true\nwork_dir = \"other\"\nchunk_size = 4096");
    signal(pid, "HUP");
    let log = "deep/objs/srs.log";
    place.wait_log(log, "reload: version 2 is in force");
    assert!(place.read(log).contains("chunk_size: 60000 is 4096 now: applies to new clients"));
    assert!(place.read(log).contains("work_dir: \"deep\" is \"other\" now: needs restart"));
}

#[test]
fn in_the_foreground_there_is_a_pid_file_where_one_is_named() {
    let place = Place::new();
    place.configure("pid = \"run/x.pid\"");
    let mut command = Command::new(env!("CARGO_BIN_EXE_srs-shard"));
    let log = fs::File::create(place.folder.join("log")).expect("a log");
    let arguments = ["-c", "server.toml", "--no-pin", "--cores", "1"];
    let mut child =
        command.args(arguments).current_dir(&place.folder).stderr(log).spawn().expect("the command");
    wait_for("the server", || place.answers().then_some(()));
    assert_eq!(place.pid_in("run/x.pid"), Some(child.id()));
    assert!(!place.folder.join("objs").exists(), "and nothing else");
    let second = place.command();
    assert_eq!(second.status.code(), Some(7), "{second:?}");
    signal(child.id(), "TERM");
    assert!(child.wait().expect("our child").success());
    assert!(!place.folder.join("run/x.pid").exists());
}

/// Whom the processes of a group of lines in `/proc/PID/status` belong to.
fn status_of_every_thread(pid: u32, field: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let value = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).expect("a thread's status");
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:")).map(str::trim));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut values: Vec<String> = tasks.map(|task| value(task.expect("an entry"))).collect();
    values.sort();
    values.dedup();
    values
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Only root can become another user: as root this tests that it does, as somebody else that it is refused.
#[test]
fn root_binds_and_nobody_serves() {
    let place = Place::new();
    if !is_root() {
        eprintln!("not run as root: tested is only that `user` is refused");
        place.configure("user = \"root\"");
        let output = place.command();
        assert_eq!(output.status.code(), Some(9), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("only root can become another user"));
        return;
    }
    let ip = place.ip;
    let listen = |ports: &str| format!("listen = [{ports}]\nuser = \"{NOBODY}\"\ndaemon = true");
    place.configure(&listen(&format!("\"{ip}:80\"")));
    place.up();
    let pid = place.pid().expect("the pid file is there");
    let id = |flag: &str| {
        let said = Command::new("id").args([flag, NOBODY]).output().expect("id");
        String::from_utf8(said.stdout).expect("a number").trim().to_owned()
    };
    let (uid, gid) = (id("-u"), id("-g"));
    assert_ne!(uid, "0");
    assert_eq!(status_of_every_thread(pid, "Uid"), [[uid.as_str(); 4].join(" ")]);
    assert_eq!(status_of_every_thread(pid, "Gid"), [[gid.as_str(); 4].join(" ")]);
    assert_eq!(status_of_every_thread(pid, "Groups"), [gid.as_str()]);
    assert_eq!(status_of_every_thread(pid, "CapEff"), ["0000000000000000"]);
    assert_eq!(status_of_every_thread(pid, "CapPrm"), ["0000000000000000"]);
    assert!(TcpStream::connect((ip, 80)).is_ok() && place.answers(), "what root bound is served");

    // The log is nobody's, and can be opened anew.
    let (at, old) = (place.folder.join("objs/srs.log"), place.folder.join("old.log"));
    assert_eq!(fs::metadata(&at).expect("the log").uid().to_string(), uid);
    fs::rename(&at, &old).expect("our own file");
    signal(pid, "USR1");
    place.wait_log("objs/srs.log", "the log is opened anew");

    // Another port of root's cannot be had any more, unless this machine gives them to everybody.
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("a sysctl");
    let is_roots = first.trim().parse::<u32>().is_ok_and(|first| first > 81);
    place.configure(&listen(&format!("\"{ip}:80\", \"{ip}:81\"")));
    signal(pid, "HUP");
    if is_roots {
        place.wait_log("objs/srs.log", "reload: version 1 stays in force");
        let log = place.read("objs/srs.log");
        assert!(
            log.contains(&format!("cannot listen on {ip}:81 for rtmp: Permission denied (os error 13)")),
            "{log}"
        );
        assert!(log.contains("; ports below 1024 take root or CAP_NET_BIND_SERVICE"), "{log}");
        assert!(log.contains("; the server has become nobody ("), "{log}");
        assert!(place.answers());
    } else {
        eprintln!("ports below 1024 are everybody's here: not tested is that they are refused");
        place.wait_log("objs/srs.log", "reload: version 2 is in force");
    }
    signal(pid, "TERM");
    wait_gone(pid);
    assert_eq!(place.pid(), None, "removed, or emptied");
}

/// Whoever is not root, but asks for another user, is told so. As root this takes `setpriv` to be somebody else.
#[test]
fn who_is_not_root_cannot_become_another_user() {
    let place = Place::new();
    place.configure("user = \"root\"");
    let program = place.folder.join("srs-shard");
    fs::copy(env!("CARGO_BIN_EXE_srs-shard"), &program).expect("a copy where everybody may read it");
    let mut command = match is_root() {
        true => {
            let mut setpriv = Command::new("setpriv");
            setpriv.args(["--reuid", NOBODY, "--clear-groups"]).arg(&program);
            setpriv
        }
        false => Command::new(&program),
    };
    let output = place.start(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(9), "{said}");
    assert!(
        said.contains("cannot become user root: only root can become another user, and this is user "),
        "{said}"
    );
}

#[test]
fn a_pid_file_is_a_file() {
    let place = Place::new();
    let pipe = place.folder.join("x.pid");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    place.configure("daemon = true\npid = \"x.pid\"");
    let output = place.command();
    assert_eq!(output.status.code(), Some(8), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("x.pid: cannot be opened: it is no file"));
    assert!(pipe.exists());
}
