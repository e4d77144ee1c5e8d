//! Maps as the agent uses them.

use agent_common::{ControlSlot, Counter, Direction, FilterAction, Mode, Settings, control_slot};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray},
};

pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, MapError> {
    ebpf.take_map(name)
        .ok_or_else(|| MapError::InvalidName { name: name.into() })
}

/// Whether a map said that what was to be removed is not in it.
pub(super) fn is_missing(error: &MapError) -> bool {
    match error {
        MapError::SyscallError(error) => error.io_error.kind() == std::io::ErrorKind::NotFound,
        error => matches!(error, MapError::KeyNotFound),
    }
}

/// Orders about single connections.
pub struct Control(Array<MapData, [u64; 2]>);

impl Control {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        Ok(Self(Array::try_from(take(ebpf, "CONTROL")?)?))
    }

    /// Gives an order about one direction of a connection. `argument` as [`Mode`] says.
    ///
    /// # Errors
    /// The map update failed.
    pub fn order(
        &mut self,
        connection: u64,
        direction: Direction,
        mode: Mode,
        argument: u32,
    ) -> Result<(), MapError> {
        let slot = ControlSlot::new(connection, direction, mode, argument);
        self.0
            .set(control_slot(connection, direction), [slot.order, slot.key], 0)
    }
}

impl Control {
    /// Gives the same order about both directions of a connection.
    ///
    /// # Errors
    /// A map update failed.
    pub fn order_both(&mut self, connection: u64, mode: Mode, argument: u32) -> Result<(), MapError> {
        [Direction::In, Direction::Out]
            .into_iter()
            .try_for_each(|way| self.order(connection, way, mode, argument))
    }
}

/// Settings and filters.
pub struct Filters {
    settings: Array<MapData, [u32; 4]>,
    pids: HashMap<MapData, u32, u8>,
    cgroups: HashMap<MapData, u64, u8>,
    ports: HashMap<MapData, u16, u8>,
}

impl Filters {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        Ok(Self {
            settings: Array::try_from(take(ebpf, "SETTINGS")?)?,
            pids: HashMap::try_from(take(ebpf, "FILTER_PIDS")?)?,
            cgroups: HashMap::try_from(take(ebpf, "FILTER_CGROUPS")?)?,
            ports: HashMap::try_from(take(ebpf, "FILTER_PORTS")?)?,
        })
    }

    /// Puts settings in force.
    ///
    /// # Errors
    /// The map update failed.
    pub fn write_settings(&mut self, settings: Settings) -> Result<(), MapError> {
        let words = [
            settings.epoch,
            settings.turn_bytes_max,
            settings.include_only,
            settings.reserved,
        ];
        self.settings.set(0, words, 0)
    }

    /// Filters a process.
    ///
    /// # Errors
    /// The map is full or the update failed.
    pub fn set_pid(&mut self, pid: u32, action: Option<FilterAction>) -> Result<(), MapError> {
        match action {
            Some(action) => self.pids.insert(pid, action as u8, 0),
            None => self.pids.remove(&pid),
        }
    }

    /// Takes a process's filter away, if it has one.
    ///
    /// # Errors
    /// The map update failed.
    pub fn admit_pid(&mut self, pid: u32) -> Result<(), MapError> {
        match self.pids.remove(&pid) {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Filters a cgroup.
    ///
    /// # Errors
    /// The map is full or the update failed.
    pub fn set_cgroup(&mut self, cgroup: u64, action: Option<FilterAction>) -> Result<(), MapError> {
        match action {
            Some(action) => self.cgroups.insert(cgroup, action as u8, 0),
            None => self.cgroups.remove(&cgroup),
        }
    }

    /// Filters a port, local or remote.
    ///
    /// # Errors
    /// The map is full or the update failed.
    pub fn set_port(&mut self, port: u16, action: Option<FilterAction>) -> Result<(), MapError> {
        match action {
            Some(action) => self.ports.insert(port, action as u8, 0),
            None => self.ports.remove(&port),
        }
    }

    /// Takes all filters away.
    ///
    /// # Errors
    /// A map update failed.
    pub fn clear(&mut self) -> Result<(), MapError> {
        for pid in self.pids.keys().collect::<Result<Vec<_>, _>>()? {
            self.pids.remove(&pid)?;
        }
        for cgroup in self.cgroups.keys().collect::<Result<Vec<_>, _>>()? {
            self.cgroups.remove(&cgroup)?;
        }
        for port in self.ports.keys().collect::<Result<Vec<_>, _>>()? {
            self.ports.remove(&port)?;
        }
        Ok(())
    }
}

/// Counters of the programs, summed over CPUs.
pub struct Counters(PerCpuArray<MapData, u64>);

impl Counters {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        Ok(Self(PerCpuArray::try_from(take(ebpf, "COUNTERS")?)?))
    }

    /// Events and bytes.
    ///
    /// # Errors
    /// The map could not be read.
    pub fn read(&self, counter: Counter) -> Result<(u64, u64), MapError> {
        let sum = |slot: u32| -> Result<u64, MapError> { Ok(self.0.get(&slot, 0)?.iter().sum()) };
        let slot = 2 * counter as u32;
        Ok((sum(slot)?, sum(slot + 1)?))
    }
}
