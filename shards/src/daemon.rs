//! Into the background, such that whoever started the server learns how that went.
//!
//! Two forks and a session between them: the daemon has no terminal and cannot get one. A pipe goes from it to the
//! process that was started; that waits at its other end until the daemon says that it is up, or why not, or is
//! gone. So a shell has the right exit code, and what is wrong on its terminal.

use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};

/// The daemon's first word is at most this long.
const MAX_WORD_BYTES: u64 = 64 << 10;
/// Files that the daemon makes are for others to read, not to write.
const UMASK: Mode = Mode::from_bits_truncate(0o022);

/// Which of the two processes this is now.
#[derive(Debug)]
pub enum Side {
    /// The one that was started: it has heard how it went.
    Starter(Word),
    /// The daemon: it has to say.
    Daemon(Starting),
}

/// What the daemon said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is up.
    Up,
    /// It is not, and ends.
    Failed {
        /// Its exit code.
        code: u8,
        /// Why.
        why: String,
    },
    /// It ended without a word.
    Gone,
}

/// The daemon's end of the pipe. Dropped without a word it means that the daemon is gone.
#[derive(Debug)]
pub struct Starting(PipeWriter);

/// Goes into the background. Both sides return.
///
/// A fork takes only the thread that calls it: there must be no other yet.
pub fn detach() -> io::Result<Side> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads > 1 {
        return Err(io::Error::other(format!("there are {threads} threads, of which a fork takes one")));
    }
    let (hears, says) = io::pipe()?;
    // SAFETY: this is the only thread, as was just seen: the child may do whatever this process may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(says);
            waitpid(child, None)?;
            Ok(Side::Starter(Word::hear(hears)?))
        }
        ForkResult::Child => {
            drop(hears);
            let starting = Starting(says);
            match leave() {
                Ok(()) => Ok(Side::Daemon(starting)),
                // There is nobody to return an error to but the starter.
                Err(error) => {
                    starting.failed(CANNOT_LEAVE, &format!("cannot become a daemon: {error}"));
                    std::process::exit(i32::from(CANNOT_LEAVE))
                }
            }
        }
    }
}

/// EX_SOFTWARE of sysexits.h.
const CANNOT_LEAVE: u8 = 70;

/// The rest of the child's way; its own child goes on.
fn leave() -> io::Result<()> {
    setsid()?;
    // SAFETY: the child of a process with one thread has one thread.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        std::process::exit(0);
    }
    umask(UMASK);
    Ok(dup2_stdin(File::open("/dev/null")?)?)
}

impl Starting {
    /// The daemon is up: it leaves the terminal, and the starter ends.
    pub fn up(mut self) -> io::Result<()> {
        let null = File::options().write(true).open("/dev/null")?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        // A starter that was killed meanwhile misses nothing.
        let _ = self.0.write_all(&[0]);
        Ok(())
    }

    /// It is not, and ends with `code`, which is not 0.
    pub fn failed(mut self, code: u8, why: &str) {
        let _ = self.0.write_all(&[&[code], why.as_bytes()].concat());
    }
}

impl Word {
    fn hear(from: PipeReader) -> io::Result<Word> {
        let mut said = Vec::new();
        from.take(MAX_WORD_BYTES).read_to_end(&mut said)?;
        Ok(match said.split_first() {
            None => Word::Gone,
            Some((0, _)) => Word::Up,
            Some((&code, why)) => Word::Failed { code, why: String::from_utf8_lossy(why).into_owned() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_does_not_fork() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv().is_err());
        let error = detach().expect_err("this is a test's thread, and there is another").to_string();
        assert!(error.contains("threads, of which a fork takes one"), "{error}");
        drop(stop);
        assert!(thread.join().unwrap());
    }

    #[test]
    fn the_starter_hears_what_was_said_or_that_nothing_was() {
        let hear = |say: fn(Starting)| {
            let (hears, says) = io::pipe().unwrap();
            say(Starting(says));
            Word::hear(hears).unwrap()
        };
        assert_eq!(hear(drop), Word::Gone);
        let failed = hear(|starting| starting.failed(5, "cannot listen"));
        assert_eq!(failed, Word::Failed { code: 5, why: "cannot listen".to_owned() });
        let (hears, mut says) = io::pipe().unwrap();
        says.write_all(&[0]).unwrap();
        drop(says);
        assert_eq!(Word::hear(hears).unwrap(), Word::Up);
    }
}
