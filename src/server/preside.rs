//! The master's life while shards run: signals, reloads, and the way out.

use super::drain::{Drain, Step};
use super::notify::{STOPPING, notify};
use super::process::{Order, Process, unix_time};
use super::reload::{InForce, ReloadError, SaveError};
use crate::config::Change;
use crate::logging::LogHandle;
use crate::stats::system::{ProcTexts, Sample};
use crate::web::api::{Refusal, ReloadOutcome};
use shards::master::{Signal, Signals};
use shards::{Control, Running};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// The machine is sampled so often, for `/api/v1/summaries`.
const SYSTEM_SAMPLE: Duration = Duration::from_secs(3);
/// Memory that is free goes back to the system so often.
const GIVE_BACK: Duration = Duration::from_secs(60);
/// How often the master looks at its clock while it waits for signals.
const MASTER_TURN: Duration = Duration::from_millis(500);

/// Acts on signals until the shards are told to stop.
pub fn preside(
    process: &Process,
    running: &Running,
    in_force: &mut InForce,
    signals: &Signals,
    log: &LogHandle,
) {
    let mut sampled: Option<Instant> = None;
    let mut drain: Option<Drain> = None;
    let mut given_back = Instant::now();
    loop {
        if given_back.elapsed() >= GIVE_BACK {
            given_back = Instant::now();
            shards::memory::give_back();
            log::debug!("free memory given back in {:?}", given_back.elapsed());
        }
        if sampled.is_none_or(|at| at.elapsed() >= SYSTEM_SAMPLE) {
            sampled = Some(Instant::now());
            let texts = ProcTexts::read(&process.plan().config.stats.disk);
            let sample = Sample::parse(&texts, unix_time().as_millis() as u64);
            process.system.write().unwrap_or_else(PoisonError::into_inner).push(sample);
        }
        let wait = drain.as_ref().map_or(MASTER_TURN, |drain| drain.wait(Instant::now()).min(MASTER_TURN));
        let signal = signals.wait(wait);
        let may_drain = drain.is_none();
        let change = |in_force: &mut InForce, order: &Order| {
            let changed = match order {
                _ if !may_drain => Err(ReloadError::Draining),
                Order::Reload => in_force.reload(process, running, log),
                Order::Update(edit) => in_force.update(edit, process, running, log),
            };
            tell(process, order, changed)
        };
        match signal {
            Some(Signal::Stop) => break,
            Some(Signal::Terminate) if !process.plan().config.force_grace_quit => break,
            Some(Signal::Terminate | Signal::Drain) if may_drain => drain = Some(begin_drain(process)),
            Some(Signal::Terminate | Signal::Drain) => break,
            Some(Signal::Reopen) => {
                log.reopen();
                log::info!("SIGUSR1: the log is opened anew");
            }
            Some(Signal::Reload) => _ = change(in_force, &Order::Reload),
            Some(Signal::Save) => save(in_force),
            Some(Signal::Woken) | None => {}
        }
        // Who asks for a reload at the same time is content with one.
        let (reloads, updates): (Vec<_>, Vec<_>) =
            process.asked().into_iter().partition(|asked| asked.order == Order::Reload);
        if !reloads.is_empty() {
            let outcome = change(in_force, &Order::Reload);
            reloads.into_iter().for_each(|asked| asked.answer(outcome.clone()));
        }
        for asked in updates {
            let outcome = change(in_force, &asked.order);
            asked.answer(outcome);
        }
        let ended = drain.as_mut().is_some_and(|drain| go_on_draining(drain, process, running));
        if ended || running.any_ended() {
            break;
        }
    }
    notify(STOPPING);
    log::info!("stopping");
    running.broadcast(Control::Stop);
}

fn begin_drain(process: &Process) -> Drain {
    process.set_draining();
    let plan = process.plan();
    let wait = plan.config.grace_start_wait;
    log::info!("draining: {} connections may finish; none is let in after {wait:?}", process.connections());
    notify(STOPPING);
    Drain::new((&plan.config).into(), Instant::now())
}

/// Does what is due; true at the end.
fn go_on_draining(drain: &mut Drain, process: &Process, running: &Running) -> bool {
    while let Some(step) = drain.step(Instant::now(), process.connections()) {
        let left = process.connections();
        match step {
            Step::StopAccepting => {
                running.broadcast(Control::Drain);
                log::info!("draining: no more are let in, {left} connections are left");
            }
            Step::Tell => log::info!("draining: {left} connections are left"),
            Step::Cut => {
                log::warn!("draining: grace_max is over, {left} connections are closed");
                running.broadcast(Control::Cut);
            }
            Step::Empty => log::info!("draining: the last connection has left"),
            Step::End => return true,
        }
    }
    false
}

/// Says in the log what came of another configuration.
fn tell(process: &Process, order: &Order, changed: Result<Vec<Change>, ReloadError>) -> ReloadOutcome {
    let word = match order {
        Order::Reload => "reload",
        Order::Update(_) => "update",
    };
    let plan = process.plan();
    match changed {
        Ok(changes) => {
            changes.iter().for_each(|change| log::info!("{word}: {change}"));
            log::info!("{word}: version {} is in force, {} changes", plan.version, changes.len());
            plan.config.warnings().iter().for_each(|warning| log::warn!("{warning}"));
            ReloadOutcome::Applied { version: plan.version, changes }
        }
        Err(error) => {
            let why = match &error {
                ReloadError::Edit(_) => Refusal::Params,
                ReloadError::Save(_) => Refusal::Save,
                ReloadError::Config(_) | ReloadError::Draining | ReloadError::Listen { .. } => {
                    Refusal::Config
                }
            };
            let errors: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
            errors.iter().for_each(|line| log::error!("{word}: {line}"));
            let verdict = match &error {
                ReloadError::Save(SaveError::AfterAll(..)) => "is in force",
                _ => "stays in force",
            };
            log::error!("{word}: version {} {verdict}", plan.version);
            ReloadOutcome::Refused { version: plan.version, why, errors }
        }
    }
}

/// SIGUSR2: SRS writes what it has in memory to its file.
fn save(in_force: &mut InForce) {
    match in_force.save() {
        Ok(true) => log::info!("save: what is in force is written to the file"),
        Ok(false) => log::info!("save: the file has what is in force"),
        Err(error) => log::error!("save: {error}"),
    }
}
