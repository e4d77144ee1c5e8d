//! What the programs charged to processes, and what they may take of them.

use agent_common::{ACCOUNTS_MAX, Account, Allowance, ProcessKey};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, PerCpuHashMap},
};

use super::maps::take;

/// See the module's description.
pub struct Accounts {
    accounts: PerCpuHashMap<MapData, [u64; 2], [u64; 2]>,
    allowances: HashMap<MapData, [u64; 2], [u32; 6]>,
}

/// A key as the map has it: the pid in the low half of the first word, whose high half is zero.
fn words(key: ProcessKey) -> [u64; 2] {
    [u64::from(key.pid), key.start_ns]
}

impl Accounts {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        Ok(Self {
            accounts: PerCpuHashMap::try_from(take(ebpf, "ACCOUNTS")?)?,
            allowances: HashMap::try_from(take(ebpf, "ALLOWANCES")?)?,
        })
    }

    /// All accounts, summed over CPUs. One that makes room meanwhile is not among them.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn read(&self) -> Result<Vec<(ProcessKey, Account)>, MapError> {
        let mut read = Vec::new();
        // The walk begins anew where the entry it stands on makes room for another: hence the bound, and each key once.
        for key in self.accounts.keys().take(ACCOUNTS_MAX as usize) {
            let key = key?;
            let values = match self.accounts.get(&key, 0) {
                Ok(values) => values,
                Err(MapError::KeyNotFound) => continue,
                Err(error) => return Err(error),
            };
            let account = values
                .iter()
                .fold(Account::default(), |sum, [timed, timed_ns]| Account {
                    timed: sum.timed + timed,
                    timed_ns: sum.timed_ns + timed_ns,
                });
            let key = ProcessKey {
                pid: key[0] as u32,
                reserved: 0,
                start_ns: key[1],
            };
            read.push((key, account));
        }
        read.sort_unstable_by_key(|(key, _)| (key.pid, key.start_ns));
        read.dedup_by_key(|(key, _)| *key);
        Ok(read)
    }

    /// Forgets the account of a process that has ended.
    ///
    /// # Errors
    /// The map update failed.
    pub fn close(&mut self, key: ProcessKey) -> Result<(), MapError> {
        ignore_missing(self.accounts.remove(&words(key)))
    }

    /// Says what may be taken of a process; `None`: everything.
    ///
    /// # Errors
    /// The map is full or the update failed.
    pub fn allow(&mut self, key: ProcessKey, allowance: Option<Allowance>) -> Result<(), MapError> {
        match allowance {
            Some(allowance) => {
                let Allowance {
                    generation,
                    level,
                    turn_bytes_max,
                    one_in,
                    drawn,
                    chosen,
                } = allowance;
                let value = [generation, level, turn_bytes_max, one_in, drawn, chosen];
                self.allowances.insert(words(key), value, 0)
            }
            None => ignore_missing(self.allowances.remove(&words(key))),
        }
    }
}

fn ignore_missing(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
