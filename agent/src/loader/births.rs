//! Tells the programs which sockets are older than they: see the module of the same name in `agent_common`.

use std::os::unix::net::UnixDatagram;

use agent_common::{BATCH, BIRTHS_MAX, LAST_BATCH, batch_of};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::stat::fstat,
    unistd::Pid,
};

use super::maps::{is_missing, take};

/// Why it is not known which sockets are older.
#[derive(Debug, thiserror::Error)]
pub enum BirthsError {
    /// A socket could not be made or looked at.
    #[error("cannot number sockets: {0}")]
    Socket(#[from] std::io::Error),
    /// The numbers are not given as they are by the kernels that are known.
    #[error("sockets are not numbered in batches")]
    NoBatches,
    /// The map update failed.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// Number of a socket that is made now.
fn number() -> std::io::Result<u32> {
    let socket = UnixDatagram::unbound()?;
    // The sequence has 32 bits.
    Ok(fstat(&socket)?.st_ino as u32)
}

/// A batch that is taken from the sequence now, by the CPU that this thread is bound to.
fn fresh_batch() -> Result<u32, BirthsError> {
    let first = batch_of(number()?);
    for _ in 0..BATCH {
        let batch = batch_of(number()?);
        if batch != first {
            return Ok(batch);
        }
    }
    Err(BirthsError::NoBatches)
}

/// The last batch that anyone has taken, and the number that each CPU has reached.
fn visit() -> Result<(u32, Vec<u32>), BirthsError> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).map_err(std::io::Error::from)?;
    let mut last = None;
    let mut reached = Vec::new();
    for cpu in (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)) {
        let mut only = CpuSet::new();
        only.set(cpu).map_err(std::io::Error::from)?;
        // One that went away meanwhile: its sockets count as old.
        if sched_setaffinity(this, &only).is_ok() {
            if last.is_none() {
                last = Some(fresh_batch()?);
            }
            reached.push(number()?);
        }
    }
    Ok((last.ok_or(BirthsError::NoBatches)?, reached))
}

/// [`visit`] on a thread of its own, which goes from CPU to CPU.
fn look() -> Result<(u32, Vec<u32>), BirthsError> {
    std::thread::spawn(visit)
        .join()
        .unwrap_or(Err(BirthsError::NoBatches))
}

/// What the programs know of which sockets are older.
pub(super) struct Births(HashMap<MapData, u32, u32>);

impl Births {
    /// Nothing is known yet.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        Ok(Self(HashMap::try_from(take(ebpf, "BIRTHS")?)?))
    }

    /// Notes for the programs, which are attached, which sockets are there. Until that is done all count as old.
    pub(super) fn note(&mut self) -> Result<(), BirthsError> {
        self.forget()?;
        for batch in self.0.keys().collect::<Result<Vec<_>, _>>()? {
            self.0.remove(&batch)?;
        }
        let (last, reached) = look()?;
        for number in reached.iter().take(BIRTHS_MAX as usize) {
            self.0.insert(batch_of(*number), number, 0)?;
        }
        // Last: with this the notes are complete.
        self.0.insert(LAST_BATCH, last, 0)?;
        Ok(())
    }

    /// All sockets count as old from here on.
    pub(super) fn forget(&mut self) -> Result<(), MapError> {
        match self.0.remove(&LAST_BATCH) {
            Err(error) if !is_missing(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use agent_common::is_born_since;

    use super::*;

    #[test]
    fn sockets_made_later_are_known_by_their_numbers() {
        let own = |socket: &UnixDatagram| fstat(socket).unwrap().st_ino as u32;
        let older: Vec<UnixDatagram> = (0..100).map(|_| UnixDatagram::unbound().unwrap()).collect();
        let (last, reached) = look().unwrap();
        let younger: Vec<UnixDatagram> = (0..2 * BATCH).map(|_| UnixDatagram::unbound().unwrap()).collect();
        let reached: HashMap<u32, u32> = reached.into_iter().map(|n| (batch_of(n), n)).collect();
        let born = |socket: &UnixDatagram| {
            let number = own(socket);
            is_born_since(number, reached.get(&batch_of(number)).copied(), last)
        };
        assert!(older.iter().all(|socket| !born(socket)));
        assert!(younger.iter().all(born));
    }
}
