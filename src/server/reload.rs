//! A reload: the configuration is read again, checked whole, compared with the one in force, and put in its place on
//! every shard. One that is bad, or whose ports are taken, changes nothing.

use super::plan::Plan;
use super::process::Process;
use super::start::ports;
use crate::cli::Cli;
use crate::config::{Change, Config, ConfigErrors, Keys, ModuleLevel, Overrides, Values};
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
        Ok((config, keys, InForce { cli, overrides, values, open: Vec::new(), user: None }))
    }

    /// The server is another user from here on.
    pub fn is_served_by(&mut self, user: String) {
        self.user = Some(user);
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
        let (mut config, mut values) = source.load(&self.overrides)?;
        let keys = source.keys(&config, &values)?;
        let before = process.plan();
        let changes = self.values.changes(&values);
        config.keep_until_restart(&before.config);
        values.keep_until_restart(&self.values);
        self.relisten(process, running, &ports(&config)).map_err(|error| {
            let is_refused = error.source.kind() == io::ErrorKind::PermissionDenied;
            ReloadError::Listen { user: self.user.clone().filter(|_| is_refused), error }
        })?;
        log.set(log_settings(&config));
        let keys = process.key_urls.complete(&keys, &config);
        process.set_plan(Arc::new(Plan::new(config, &keys, process.nofile, before.version + 1)));
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
