//! The pid file: this process's number, for scripts, and a lock on it as long as the process lives.
//!
//! The lock is one of the open file (`F_OFD_SETLK`), not of the process: it keeps out SRS, which locks its pid file by
//! `fcntl`, as well as a second one of ours; and whoever is given the descriptor has the lock too, so that a
//! successor could take it over without a moment in between.

use libc::{F_WRLCK, O_NOFOLLOW, O_NONBLOCK, SEEK_SET};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file that is replaced again and again while it is opened is not ours to have.
const TRIES: usize = 8;

/// The file, locked; removed on drop, or where that is not permitted emptied.
#[derive(Debug)]
pub struct PidFile {
    file: File,
    path: PathBuf,
}

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another process has it.
    #[error("pid file {}: {} holds it", .path.display(), holder(*.pid))]
    Held {
        /// The file.
        path: PathBuf,
        /// Who, if that can be told.
        pid: Option<u32>,
    },
    /// It cannot be had.
    #[error("pid file {}: cannot be {doing}: {source}", .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl PidFile {
    /// Makes the file, or takes the one that is there, and writes this process's number into it.
    pub fn take(path: &Path) -> Result<PidFile, PidFileError> {
        let failed = |doing| move |source| PidFileError::Failed { path: path.to_owned(), doing, source };
        for _ in 0..TRIES {
            let mut file = open(path).map_err(failed("opened"))?;
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    return Err(PidFileError::Held { path: path.to_owned(), pid: holder_of(&mut file) });
                }
                Err(error) => return Err(failed("locked")(error.into())),
            }
            // Its holder may have removed it since it was opened: then it is nobody's, and another one is there.
            if is_at(&file, path) {
                file.set_len(0).map_err(failed("written"))?;
                writeln!(file, "{}", std::process::id()).map_err(failed("written"))?;
                return Ok(PidFile { file, path: path.to_owned() });
            }
        }
        Err(failed("opened")(io::Error::other("it is replaced all the time")))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            // First emptied: who may no longer write to the folder leaves at least no number behind.
            let _ = self.file.set_len(0);
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Root opens this where others may write, perhaps: no link of theirs is followed, and no pipe waited for.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.mode(0o644).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok(file)
}

fn whole_file() -> libc::flock {
    libc::flock { l_type: F_WRLCK as i16, l_whence: SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

/// A lock like SRS's says whose it is; of one like ours only the file's text does.
fn holder_of(file: &mut File) -> Option<u32> {
    let mut lock = whole_file();
    if fcntl(&*file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok() && lock.l_pid > 0 {
        return u32::try_from(lock.l_pid).ok();
    }
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether `path` still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("shards-pid-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_second_one_is_told_who_holds_it() {
        let path = path("held");
        let first = PidFile::take(&path).unwrap();
        let me = std::process::id();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{me}\n"));
        let error = PidFile::take(&path).unwrap_err();
        assert!(matches!(error, PidFileError::Held { pid: Some(pid), .. } if pid == me), "{error}");
        assert_eq!(error.to_string(), format!("pid file {}: process {me} holds it", path.display()));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{me}\n"), "untouched");
        drop(first);
        assert!(!path.exists());
        drop(PidFile::take(&path).unwrap());
    }

    #[test]
    fn a_lock_of_srs_keeps_us_out() {
        let path = path("srs");
        let srs = File::create(&path).unwrap();
        fcntl(&srs, FcntlArg::F_SETLK(&whole_file())).unwrap();
        let error = PidFile::take(&path).unwrap_err();
        let me = std::process::id();
        assert!(matches!(error, PidFileError::Held { pid: Some(pid), .. } if pid == me), "{error}");
        drop(srs);
        drop(PidFile::take(&path).unwrap());
    }

    #[test]
    fn what_a_dead_process_left_is_taken_over() {
        let path = path("stale");
        fs::write(&path, "4194304999\n").unwrap();
        let file = PidFile::take(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        // Somebody else's file in its place is not ours to remove.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_cannot_be_had_is_said_with_its_cause() {
        let error = PidFile::take(Path::new("/proc/none/x.pid")).unwrap_err().to_string();
        assert!(error.starts_with("pid file /proc/none/x.pid: cannot be opened: "), "{error}");
        let (link, target) = (path("link"), path("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(PidFile::take(&link), Err(PidFileError::Failed { doing: "opened", .. })));
        fs::remove_file(&link).unwrap();
        assert!(!target.exists());
    }
}
