//! The heartbeat: a manager of servers is told that this one is there. Shard 0 does so.

use super::http_conn::with_context;
use super::messages::Msg;
use super::shard::Shard;
use crate::config::schema;
use crate::logging::Throttle;
use crate::web::api::heartbeat;
use crate::web::api::snapshot::{ShardSnapshot, Wanted, WantedClients};
use shards::ask::ASK_LIMIT;
use shards::{Class, ShardId};
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A manager that takes longer is told again with the next beat.
const LIMIT: Duration = Duration::from_secs(10);

/// When it was told last.
#[derive(Default)]
pub struct Heart {
    beaten_ms: Cell<Option<u64>>,
    /// What went wrong is told by the thread that finds out.
    trouble: Arc<Mutex<Throttle>>,
}

/// Tells, if it is time to; called several times a second.
pub fn beat_if_due(shard: &Rc<Shard>, now_ms: u64) {
    let plan = shard.plan();
    let config = &plan.config.heartbeat;
    if shard.ctx.me() != ShardId(0) || !config.enabled {
        return;
    }
    let interval_ms = config.interval.as_millis() as u64;
    if shard.heart.beaten_ms.get().is_some_and(|before| now_ms.saturating_sub(before) < interval_ms) {
        return;
    }
    shard.heart.beaten_ms.set(Some(now_ms));
    let (config, shard) = (config.clone(), Rc::clone(shard));
    let ctx = shard.ctx.clone();
    ctx.spawn(Class::Api, "the heartbeat", async move { beat(&shard, config).await });
}

async fn beat(shard: &Shard, config: schema::Heartbeat) {
    let wanted = Wanted { streams: false, clients: WantedClients::None };
    let shards: Option<Vec<ShardSnapshot>> = match config.summaries {
        true => {
            let answers = shard.ctx.ask_all(|reply| Msg::Snapshot(wanted, reply), ASK_LIMIT).await;
            Some(answers.into_iter().filter_map(|(_, answer)| Some(*answer.ok()?)).collect())
        }
        false => None,
    };
    let (process, plan) = (Arc::clone(&shard.process), shard.plan());
    let device_id = config.device_id;
    // The machine's addresses are asked of the kernel: on a helper thread.
    let body = move || {
        let ip = own_address(plan.config.stats.network as usize);
        let ip = ip.map_or_else(String::new, |ip| ip.to_string());
        with_context(&process, &plan, |context| {
            heartbeat(context, &device_id, &ip, shards.as_deref()).to_text()
        })
    };
    let Ok(body) = shard.ctx.offload(body).await else { return };
    let (url, trouble) = (config.url.clone(), Arc::clone(&shard.heart.trouble));
    shard.process.post.send(config.url, body, LIMIT, move |sent| {
        let Err(why) = sent else { return };
        let told = trouble.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if let Some(repeats) = told {
            log::warn!("heartbeat: {url}: {why}{repeats}");
        }
    });
}

/// The address under which others know this machine, as far as it knows: the `network`-th of those that it has.
fn own_address(network: usize) -> Option<IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let others = all.iter().filter(|interface| !interface.is_loopback());
    choose(others.map(if_addrs::Interface::ip).collect(), network)
}

/// Those of IPv4 come first; behind the last one it begins anew, as in SRS.
fn choose(mut addresses: Vec<IpAddr>, network: usize) -> Option<IpAddr> {
    addresses.sort_by_key(IpAddr::is_ipv6); // stable: the interfaces' order stays
    let at = network.checked_rem(addresses.len())?;
    addresses.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_chosen_by_its_number() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let all = || vec![ip("fe80::1"), ip("10.0.0.1"), ip("203.0.113.1")];
        let chosen = [0, 1, 2, 3].map(|network| choose(all(), network));
        assert_eq!(chosen, [ip("10.0.0.1"), ip("203.0.113.1"), ip("fe80::1"), ip("10.0.0.1")].map(Some));
        assert_eq!(choose(Vec::new(), 1), None);
    }
}
