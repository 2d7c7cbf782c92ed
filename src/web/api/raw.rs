//! `/api/v1/raw?rpc=…`: tells and changes the configuration of the running server, for operators.

mod query;
mod update;

use super::json::{Json, Object};
use super::{ApiCall, ApiContext, code, respond};
use crate::config::edit::Edit;
use crate::config::reload::{Change, What};
use crate::http::request::Request;
use crate::http::response::Response;

/// `[http_api.raw_api]`, as far as the API needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawApi {
    /// Whether there is one.
    pub enabled: bool,
    /// Whether `rpc=reload` is permitted.
    pub allow_reload: bool,
    /// Whether `rpc=query` is.
    pub allow_query: bool,
    /// Whether `rpc=update` is.
    pub allow_update: bool,
}

/// The configuration is to be read again, or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// The change; None: it is to be read again.
    pub edit: Option<Edit>,
    callback: Option<String>,
}

/// What came of a [`Reload`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// It is in force.
    Applied {
        /// Its version.
        version: u64,
        /// What it has changed.
        changes: Vec<Change>,
    },
    /// The one before stays in force.
    Refused {
        /// Its version.
        version: u64,
        /// Of what kind the fault is.
        why: Refusal,
        /// Why, a line each.
        errors: Vec<String>,
    },
    /// Nobody said in time.
    Unanswered,
}

/// What keeps a configuration from being in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is bad.
    Config,
    /// The change makes no sense as things are.
    Params,
    /// It cannot be kept in the file.
    Save,
}

impl Refusal {
    const fn code(self) -> u32 {
        match self {
            Refusal::Config => code::CONFIG_INVALID,
            Refusal::Params => code::RAW_PARAMS,
            Refusal::Save => code::CONFIG_NOT_SAVED,
        }
    }
}

/// Whether a call changes something: what is off does not.
pub(super) fn changes(request: &Request, raw: RawApi) -> bool {
    match request.query.value("rpc") {
        Some("reload") => raw.enabled && raw.allow_reload,
        Some("update") => raw.enabled && raw.allow_update,
        _ => false,
    }
}

/// Answers a call of the raw API, from who may.
pub(super) fn call(request: &Request, context: &ApiContext<'_>, callback: Option<&str>) -> ApiCall {
    let answer = |object: Object| ApiCall::Answer(respond(&object, callback));
    let refused = |code: u32| answer(Object::new().with("code", code));
    let raw = context.raw_api;
    match request.query.value("rpc") {
        // As in SRS, which tells that it is off even if it is.
        Some("raw") => {
            let own = Object::new().with("enabled", raw.enabled).with("allow_reload", raw.allow_reload);
            let own = own.with("allow_query", raw.allow_query).with("allow_update", raw.allow_update);
            let listen = context.config.http_api.listen.first().map_or(String::new(), |at| at.to_string());
            let http_api = Object::new().with("enabled", true).with("listen", listen);
            let http_api = http_api.with("crossdomain", context.crossdomain).with("raw_api", own);
            answer(Object::new().with("code", 0u32).with("http_api", http_api))
        }
        _ if !raw.enabled => refused(code::RAW_DISABLED),
        Some("reload") if !raw.allow_reload => refused(code::RAW_DISABLED),
        Some("reload") => ApiCall::Reload(Reload { edit: None, callback: callback.map(str::to_owned) }),
        Some("query") if !raw.allow_query => refused(code::RAW_DISABLED),
        Some("query") => match query::answer(request, context) {
            Ok(object) => answer(object),
            Err(code) => refused(code),
        },
        Some("update") if !raw.allow_update => refused(code::RAW_DISABLED),
        Some("update") => {
            let (code, why) = match update::edit(request) {
                Ok(edit) => {
                    return ApiCall::Reload(Reload {
                        edit: Some(edit),
                        callback: callback.map(str::to_owned),
                    });
                }
                Err(update::Refused::NotAllowed(why)) => (code::RAW_NOT_ALLOWED, why),
                Err(update::Refused::Params(why)) => (code::RAW_PARAMS, why),
            };
            answer(Object::new().with("code", code).with("errors", vec![why]))
        }
        _ => refused(code::RAW_RPC),
    }
}

/// Says what came of a reload or an update.
pub fn reloaded(reload: &Reload, outcome: &ReloadOutcome) -> Response {
    let callback = reload.callback.as_deref();
    match outcome {
        ReloadOutcome::Applied { version, changes } => {
            let changes: Vec<Object> = changes.iter().map(change).collect();
            let object = Object::new().with("code", 0u32).with("version", *version).with("changes", changes);
            respond(&object, callback)
        }
        ReloadOutcome::Refused { version, why, errors } => {
            let errors: Vec<Json> = errors.iter().map(|line| Json::from(line.as_str())).collect();
            let object = Object::new().with("code", why.code()).with("version", *version);
            respond(&object.with("errors", errors), callback)
        }
        ReloadOutcome::Unanswered => {
            let object = Object::new().with("code", code::UNANSWERED);
            Response { status: 503, ..respond(&object, callback) }
        }
    }
}

fn change(change: &Change) -> Object {
    let object = Object::new().with("key", change.key.as_str());
    let object = match &change.what {
        What::Added => object.with("what", "added"),
        What::Removed => object.with("what", "removed"),
        What::Changed { from, to, .. } => {
            object.with("what", "changed").with("from", from.as_str()).with("to", to.as_str())
        }
    };
    object.with("verdict", change.what.verdict())
}
