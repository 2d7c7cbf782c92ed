//! The configuration in force and how it changes: it is read again, or one key of it is set. What comes of that is
//! checked whole, compared with what is in force, and put in its place on every shard. One that is bad, or whose ports
//! are taken, changes nothing.

use super::plan::Plan;
use super::process::Process;
use super::start::ports;
use crate::cli::Cli;
use crate::config::edit::{Edit, EditError};
use crate::config::save::Saved;
use crate::config::{Change, Config, ConfigErrors, Keys, ModuleLevel, Overrides, Said, Source, Values};
use crate::logging::{Levels, LogHandle, Settings};
use crate::web::api::ids::{ClientId, IdStyle};
use shards::listen::ListenError;
use shards::{Control, Port, Running};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// Why a configuration did not take the place of the one in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It has faults.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The server is on its way out: it would listen again.
    #[error("the server is draining")]
    Draining,
    /// A port that it adds cannot be listened on.
    #[error("{error}{}", .user.as_ref().map_or_else(String::new, |user| format!("; the server has become {user}: a restart listens there")))]
    Listen {
        /// Which, and why.
        error: ListenError,
        /// Whom the server has become, if that may be the reason.
        user: Option<String>,
    },
    /// The change is not one that can be made.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// It could not be kept in the file.
    #[error(transparent)]
    Save(#[from] SaveError),
}

/// Why there is no configuration to start with.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It has faults.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Its `work_dir` is no folder for us.
    #[error("work_dir {}: cannot be entered: {source}", .dir.display())]
    WorkDir {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the configuration in force is not written to the file.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// There is none.
    #[error("there is no file to keep it in: the server was started without -c")]
    NoFile,
    /// Somebody has changed it, and what they wrote would be lost.
    #[error("{0} has changed since it was read; SIGHUP or rpc=reload takes that over")]
    Changed(String),
    /// The system says no; nothing has changed.
    #[error("{0} cannot be written: {1}")]
    Io(String, io::Error),
    /// The system says no, and what was changed is in force already; SIGUSR2 tries again.
    #[error("it is in force, but {0} cannot be written: {1}; SIGUSR2 tries again")]
    AfterAll(String, io::Error),
}

/// How a configuration wants the log.
pub fn log_settings(config: &Config) -> Settings {
    let mut settings = Settings::new(config.log_level().filter());
    let with = |levels: Levels, of: &ModuleLevel| levels.with(of.module, of.level.filter());
    settings.levels = config.srs_log_levels.iter().fold(settings.levels, with);
    settings.utc = config.utc_time;
    if config.http_api.string_ids {
        settings.name_client = |number| ClientId(number).to_text(IdStyle::String);
    }
    settings
}

/// What the master knows of the configuration in force.
pub struct InForce {
    cli: Cli,
    overrides: Overrides,
    source: Source,
    /// What the file has, if that is not what is in force.
    in_file: Option<Source>,
    values: Values,
    /// What was asked for, and where that is.
    open: Vec<(Port, SocketAddr)>,
    /// Whom the server has become since it bound its first ports.
    user: Option<String>,
}

impl InForce {
    /// Reads what the command line and the environment say, goes to `work_dir`, and reads the files with keys that are
    /// named. The configuration is found again where it was.
    pub fn load(cli: &Cli, overrides: Overrides) -> Result<(Config, Keys, InForce), LoadError> {
        let source = cli.source()?;
        let (config, values) = source.load(&overrides)?;
        let mut cli = cli.clone();
        if config.work_dir != Path::new("./") {
            let failed = |source| LoadError::WorkDir { dir: config.work_dir.clone(), source };
            cli.config = cli.config.map(std::path::absolute).transpose().map_err(failed)?;
            std::env::set_current_dir(&config.work_dir).map_err(failed)?;
        }
        let keys = source.keys(&config, &values)?;
        let in_force =
            InForce { cli, overrides, source, in_file: None, values, open: Vec::new(), user: None };
        Ok((config, keys, in_force))
    }

    /// The server is another user from here on.
    pub fn is_served_by(&mut self, user: String) {
        self.user = Some(user);
    }

    /// Which keys somebody has said.
    pub fn said(&self) -> Said {
        self.values.said()
    }

    /// The server listens now: on `at` for what `asked` says, in the same order.
    pub fn listens(&mut self, asked: &[Port], at: &[(&'static str, SocketAddr)]) {
        self.open = asked.iter().copied().zip(at.iter().map(|(_, at)| *at)).collect();
    }

    /// Reads everything again and puts it in force; what has changed.
    pub fn reload(
        &mut self,
        process: &Process,
        running: &Running,
        log: &LogHandle,
    ) -> Result<Vec<Change>, ReloadError> {
        let source = self.cli.source()?;
        let (config, values) = source.load(&self.overrides)?;
        let keys = source.keys(&config, &values)?;
        let changes = self.replace(config, values, &keys, process, running, log)?;
        (self.source, self.in_file) = (source, None);
        Ok(changes)
    }

    /// Makes one change, puts it in force, and keeps it in the file; what has changed.
    pub fn update(
        &mut self,
        edit: &Edit,
        process: &Process,
        running: &Running,
        log: &LogHandle,
    ) -> Result<Vec<Change>, ReloadError> {
        let file = self.file_as_it_was()?.to_owned();
        edit.check(&process.plan().config, &self.overrides)?;
        let source = Source::new(self.source.name(), &edit.apply(self.source.text())?);
        let (config, values) = source.load(&self.overrides)?;
        // Another way to write what is in force is nothing to change a file for.
        if self.values.changes(&values).is_empty() {
            return Ok(Vec::new());
        }
        let keys = source.keys(&config, &values)?;
        let name = || self.source.name().to_owned();
        let saved = Saved::beside(&file, source.text()).map_err(|error| SaveError::Io(name(), error))?;
        let changes = self.replace(config, values, &keys, process, running, log)?;
        let before = std::mem::replace(&mut self.source, source);
        match saved.commit() {
            Ok(()) => self.in_file = None,
            Err(error) => {
                self.in_file.get_or_insert(before);
                return Err(SaveError::AfterAll(self.source.name().to_owned(), error).into());
            }
        }
        Ok(changes)
    }

    /// Writes what is in force to the file, unless that has it already; whether it was written.
    pub fn save(&mut self) -> Result<bool, SaveError> {
        let file = self.cli.config.as_deref().ok_or(SaveError::NoFile)?;
        let name = || self.source.name().to_owned();
        let is_gone = matches!(file.try_exists(), Ok(false));
        if !is_gone {
            self.file_as_it_was()?;
            if self.in_file.is_none() {
                return Ok(false);
            }
        }
        let saved = Saved::beside(file, self.source.text()).and_then(Saved::commit);
        saved.map_err(|error| SaveError::Io(name(), error))?;
        self.in_file = None;
        Ok(true)
    }

    /// The file, if it has what it had when it was read or written last.
    fn file_as_it_was(&self) -> Result<&Path, SaveError> {
        let file = self.cli.config.as_deref().ok_or(SaveError::NoFile)?;
        let expected = self.in_file.as_ref().unwrap_or(&self.source);
        match Source::file(file) {
            Ok(found) if found == *expected => Ok(file),
            _ => Err(SaveError::Changed(self.source.name().to_owned())),
        }
    }

    fn replace(
        &mut self,
        mut config: Config,
        mut values: Values,
        keys: &Keys,
        process: &Process,
        running: &Running,
        log: &LogHandle,
    ) -> Result<Vec<Change>, ReloadError> {
        let before = process.plan();
        let changes = self.values.changes(&values);
        config.keep_until_restart(&before.config);
        values.keep_until_restart(&self.values);
        self.relisten(process, running, &ports(&config)).map_err(|error| {
            let is_refused = error.source.kind() == io::ErrorKind::PermissionDenied;
            ReloadError::Listen { user: self.user.clone().filter(|_| is_refused), error }
        })?;
        log.set(log_settings(&config));
        let (keys, said) = (process.key_urls.complete(keys, &config), values.said());
        process.set_plan(Arc::new(Plan::new(config, &keys, said, process.nofile, before.version + 1)));
        self.values = values;
        running.broadcast(Control::Reload);
        Ok(changes)
    }

    /// Listens on what is new; shards leave by themselves what is no longer there.
    fn relisten(&mut self, process: &Process, running: &Running, wanted: &[Port]) -> Result<(), ListenError> {
        let is_open = |port: &&Port| self.open.iter().any(|(open, _)| open == *port);
        let new: Vec<Port> = wanted.iter().filter(|port| !is_open(port)).copied().collect();
        let ours: Vec<SocketAddr> = self.open.iter().map(|(_, at)| *at).collect();
        let bound = running.listen(&new, &ours)?;
        self.open.retain(|(port, _)| wanted.contains(port));
        self.open.extend(new.into_iter().zip(bound.iter().map(|(_, at)| *at)));
        let all = self.open.iter().map(|(port, at)| (port.name, *at)).collect();
        *process.ports.write().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }
}
