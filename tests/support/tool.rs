//! Real clients as child processes: ffmpeg (Debian's and a current one), rtmpdump, GStreamer, curl.

use super::wait_for;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// Debian's ffmpeg.
pub const DEBIAN_FFMPEG: &str = "ffmpeg";
/// Enhanced RTMP came with ffmpeg 6.1; anything from this on has it whole.
const ENHANCED_RTMP_SINCE: u32 = 7;

/// A current ffmpeg: `FFMPEG_NEW`, or the one that comes with imageio-ffmpeg. It must be there.
pub fn new_ffmpeg() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let program = std::env::var("FFMPEG_NEW").unwrap_or_else(|_| {
            let ask = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
            let answer = Command::new("python3").args(["-c", ask]).output().expect("python3 is installed");
            assert!(answer.status.success(), "set FFMPEG_NEW, or `pip install imageio-ffmpeg`");
            String::from_utf8(answer.stdout).expect("a path").trim().to_owned()
        });
        let said = Command::new(&program).arg("-version").output().expect("a current ffmpeg");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said.split_whitespace().nth(2).expect("its version").trim_start_matches(['n', 'v']);
        let major = version.split(['.', '-']).next().and_then(|number| number.parse::<u32>().ok());
        assert!(major.is_some_and(|major| major >= ENHANCED_RTMP_SINCE), "{program} is {version}, too old");
        program
    })
}

/// Sends a signal, named without SIG.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("a shell");
    assert!(status.success(), "kill -{name} {pid}");
}

/// A running client; killed on drop.
pub struct Tool {
    child: Child,
    said: PathBuf,
    wrote: PathBuf,
    line: String,
}

/// How a client ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Standard output.
    pub output: Vec<u8>,
    /// Standard error.
    pub said: String,
    /// The command line.
    pub line: String,
}

impl Tool {
    /// Starts a program, standard output and error into files.
    pub fn start(program: &str, arguments: &[&str]) -> Tool {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let file = |what| {
            std::env::temp_dir().join(format!("srs-shard-tool-{}-{number}-{what}", std::process::id()))
        };
        let (said, wrote) = (file("stderr"), file("stdout"));
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(&wrote).expect("a temporary file"))
            .stderr(File::create(&said).expect("a temporary file"))
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Tool { child, said, wrote, line: format!("{program} {}", arguments.join(" ")) }
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// What it has written to standard output so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.wrote).unwrap_or_default()).into_owned()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ended {
        let status =
            wait_for(&format!("the end of {}", self.line), || self.child.try_wait().expect("our child"));
        let output = fs::read(&self.wrote).unwrap_or_default();
        let said = String::from_utf8_lossy(&fs::read(&self.said).unwrap_or_default()).into_owned();
        Ended { status, output, said, line: self.line.clone() }
    }

    /// Waits for its end, which must be a good one; returns its standard output.
    pub fn finished(self) -> Vec<u8> {
        let ended = self.ended();
        assert!(ended.status.success(), "{}: {}\n{}", ended.line, ended.status, ended.said);
        ended.output
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said = fs::read(&self.said).unwrap_or_default();
            eprintln!("---- {}\n{}----", self.line, String::from_utf8_lossy(&said));
        }
        let _ = fs::remove_file(&self.said);
        let _ = fs::remove_file(&self.wrote);
    }
}

/// An encoder: plays a file at its own pace to a URL, without touching a frame.
pub fn publish(ffmpeg: &str, file: &str, url: &str) -> Tool {
    publish_with(ffmpeg, &[], file, url)
}

/// The same with more options for the input.
pub fn publish_with(ffmpeg: &str, options: &[&str], file: &str, url: &str) -> Tool {
    let mut line = vec!["-hide_banner", "-loglevel", "error", "-nostats", "-progress", "pipe:1", "-re"];
    line.extend(options);
    line.extend([
        "-i",
        file,
        "-map",
        "0",
        "-c",
        "copy",
        "-f",
        "flv",
        "-flvflags",
        "no_duration_filesize",
        url,
    ]);
    Tool::start(ffmpeg, &line)
}
