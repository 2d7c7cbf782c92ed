//! Another user for the process: root binds the ports, and nobody in particular serves them.
//!
//! The C library has every thread of the process take over what one asked for, so it does not matter how many there
//! are. Afterwards it is tried whether the way back is closed.

use nix::errno::Errno;
use nix::sys::prctl::set_dumpable;
use nix::unistd::{
    Gid, Group, Uid, User, getgroups, getresgid, getresuid, setegid, seteuid, setgroups, setresgid, setresuid,
};
use std::fmt;

/// A user and its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
}

/// Why the process cannot become somebody.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no such user.
    #[error("user {0}: there is none of that name or number")]
    NoUser(String),
    /// There is no such group.
    #[error("group {0}: there is none of that name or number")]
    NoGroup(String),
    /// The machine does not know the user's group.
    #[error("user {0}: its group is not known here; say it with `group`")]
    GroupUnknown(String),
    /// The machine cannot say.
    #[error("user {name}: cannot be looked up: {source}")]
    LookUp {
        /// Who.
        name: String,
        /// What the system said.
        source: Errno,
    },
    /// Only root may.
    #[error("cannot become user {name}: only root can become another user, and this is user {me}")]
    NotRoot {
        /// Who.
        name: String,
        /// Whose process this is.
        me: u32,
    },
    /// The system refused.
    #[error("cannot become user {name}: {doing}: {source}")]
    Failed {
        /// Who.
        name: String,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: Errno,
    },
    /// It could become root again.
    #[error("became user {0}, but could become again who it was; it does not go on like that")]
    NotForGood(String),
}

impl Account {
    /// Looks a user up, by name or number, and its group, unless that is said.
    pub fn find(user: &str, group: Option<&str>) -> Result<Account, AccountError> {
        let look_up = |source| AccountError::LookUp { name: user.to_owned(), source };
        let number = user.parse().ok().map(Uid::from_raw);
        let known = match (User::from_name(user).map_err(look_up)?, number) {
            (None, Some(uid)) => User::from_uid(uid).map_err(look_up)?,
            (known, _) => known,
        };
        let uid = known.as_ref().map(|user| user.uid).or(number);
        let uid = uid.ok_or_else(|| AccountError::NoUser(user.to_owned()))?;
        let gid = match group {
            None => known.map(|user| user.gid).ok_or_else(|| AccountError::GroupUnknown(user.to_owned()))?,
            Some(group) => Group::from_name(group)
                .map_err(look_up)?
                .map(|group| group.gid)
                .or_else(|| group.parse().ok().map(Gid::from_raw))
                .ok_or_else(|| AccountError::NoGroup(group.to_owned()))?,
        };
        Ok(Account { name: user.to_owned(), uid, gid })
    }

    /// Its numbers.
    pub fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// The process is this user from here on, in its group and no other, and cannot go back. Whoever is that user
    /// already stays as it is.
    pub fn become_for_good(&self) -> Result<(), AccountError> {
        let failed = |doing| {
            move |source| match source {
                Errno::EPERM => {
                    AccountError::NotRoot { name: self.name.clone(), me: Uid::current().as_raw() }
                }
                source => AccountError::Failed { name: self.name.clone(), doing, source },
            }
        };
        if self.is_current() {
            return Ok(());
        }
        setgroups(&[self.gid]).map_err(failed("its groups"))?;
        setresgid(self.gid, self.gid, self.gid).map_err(failed("its group"))?;
        setresuid(self.uid, self.uid, self.uid).map_err(failed("its user"))?;
        let groups = getgroups().map_err(failed("its groups"))?;
        let can_go_back = !self.uid.is_root()
            && (seteuid(Uid::from_raw(0)).is_ok()
                || (self.gid.as_raw() != 0 && setegid(Gid::from_raw(0)).is_ok()));
        if can_go_back || !self.is_current() || groups != [self.gid] {
            return Err(AccountError::NotForGood(self.name.clone()));
        }
        // Else /proc/self is root's from now on, and a crash leaves no core.
        set_dumpable(true).map_err(failed("its /proc"))
    }

    fn is_current(&self) -> bool {
        let (Ok(uids), Ok(gids)) = (getresuid(), getresgid()) else { return false };
        [uids.real, uids.effective, uids.saved] == [self.uid; 3]
            && [gids.real, gids.effective, gids.saved] == [self.gid; 3]
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.name, self.uid, self.gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = Account { name: "root".to_owned(), uid: Uid::from_raw(0), gid: Gid::from_raw(0) };
        assert_eq!(Account::find("root", None).unwrap(), root);
        assert_eq!(Account::find("0", None).unwrap().ids(), (0, 0));
        assert_eq!(Account::find("0", Some("7")).unwrap().ids(), (0, 7));
        assert_eq!(Account::find("0", Some("root")).unwrap().ids(), (0, 0));
        let error = |user, group| Account::find(user, group).unwrap_err().to_string();
        assert_eq!(error("no-such-user", None), "user no-such-user: there is none of that name or number");
        assert_eq!(error("0", Some("no-such")), "group no-such: there is none of that name or number");
        assert!(error("4000000001", None).contains("say it with `group`"));
        assert_eq!(Account::find("4000000001", Some("5")).unwrap().ids(), (4_000_000_001, 5));
    }

    #[test]
    fn who_it_is_already_it_may_be() {
        let me = Account { name: "me".to_owned(), uid: Uid::current(), gid: Gid::current() };
        me.become_for_good().unwrap();
    }
}
