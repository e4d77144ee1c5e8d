//! Which kernel fields the programs read, and the names of the globals that take their offsets.

use super::btf::{Btf, BtfError};

/// Structure and member; several parts are summed (a member of an embedded structure).
type Path = &'static [(&'static str, &'static str)];

/// Global in the object → field. The same names as in the programs' `kernel` module.
const OFFSETS: &[(&str, Path)] = &[
    (
        "OFF_SK_FAMILY",
        &[("sock", "__sk_common"), ("sock_common", "skc_family")],
    ),
    (
        "OFF_SK_NUM",
        &[("sock", "__sk_common"), ("sock_common", "skc_num")],
    ),
    (
        "OFF_SK_DPORT",
        &[("sock", "__sk_common"), ("sock_common", "skc_dport")],
    ),
    (
        "OFF_SK_DADDR",
        &[("sock", "__sk_common"), ("sock_common", "skc_daddr")],
    ),
    (
        "OFF_SK_RCV_SADDR",
        &[("sock", "__sk_common"), ("sock_common", "skc_rcv_saddr")],
    ),
    (
        "OFF_SK_V6_DADDR",
        &[("sock", "__sk_common"), ("sock_common", "skc_v6_daddr")],
    ),
    (
        "OFF_SK_V6_RCV_SADDR",
        &[("sock", "__sk_common"), ("sock_common", "skc_v6_rcv_saddr")],
    ),
    (
        "OFF_SK_COOKIE",
        &[("sock", "__sk_common"), ("sock_common", "skc_cookie")],
    ),
    ("OFF_SK_PROTOCOL", &[("sock", "sk_protocol")]),
    (
        "OFF_SK_FLAGS",
        &[("sock", "__sk_common"), ("sock_common", "skc_flags")],
    ),
    ("OFF_NET_INUM", &[("net", "ns"), ("ns_common", "inum")]),
    ("OFF_TCP_WRITE_SEQ", &[("tcp_sock", "write_seq")]),
    ("OFF_TCP_COPIED_SEQ", &[("tcp_sock", "copied_seq")]),
    ("OFF_TCP_RCV_NXT", &[("tcp_sock", "rcv_nxt")]),
    ("OFF_TCP_BYTES_SENT", &[("tcp_sock", "bytes_sent")]),
    ("OFF_TCP_BYTES_RECEIVED", &[("tcp_sock", "bytes_received")]),
    ("OFF_TCP_BYTES_ACKED", &[("tcp_sock", "bytes_acked")]),
    ("OFF_TCP_UPPER", &[("inet_connection_sock", "icsk_ulp_ops")]),
    ("OFF_TASK_GROUP_LEADER", &[("task_struct", "group_leader")]),
    ("OFF_TASK_REAL_PARENT", &[("task_struct", "real_parent")]),
    ("OFF_TASK_PID", &[("task_struct", "pid")]),
    ("OFF_TASK_TGID", &[("task_struct", "tgid")]),
    ("OFF_TASK_START", &[("task_struct", "start_boottime")]),
    ("OFF_TASK_NSPROXY", &[("task_struct", "nsproxy")]),
    ("OFF_NSPROXY_NET", &[("nsproxy", "net_ns")]),
    ("OFF_TASK_MM", &[("task_struct", "mm")]),
    ("OFF_MM_ARG_START", &[("mm_struct", "arg_start")]),
    ("OFF_MM_ARG_END", &[("mm_struct", "arg_end")]),
    ("OFF_BPRM_FILENAME", &[("linux_binprm", "filename")]),
    ("OFF_TASK_FILES", &[("task_struct", "files")]),
    ("OFF_FILES_FDT", &[("files_struct", "fdt")]),
    ("OFF_FDT_FD", &[("fdtable", "fd")]),
    ("OFF_FILE_INODE", &[("file", "f_inode")]),
    ("OFF_INODE_MODE", &[("inode", "i_mode")]),
    ("OFF_FILE_PRIVATE", &[("file", "private_data")]),
    ("OFF_SOCKET_SK", &[("socket", "sk")]),
];

/// What is read of UNIX sockets. A kernel that lacks a field has them differently, or not at all.
const UNIX_OFFSETS: &[(&str, Path)] = &[
    ("OFF_SK_TYPE", &[("sock", "sk_type")]),
    ("OFF_SK_SOCKET", &[("sock", "sk_socket")]),
    ("OFF_SK_PEER_PID", &[("sock", "sk_peer_pid")]),
    (
        "OFF_SK_QUEUE_LENGTH",
        &[("sock", "sk_receive_queue"), ("sk_buff_head", "qlen")],
    ),
    // The inode lies behind the socket, in the same allocation.
    (
        "OFF_SOCKET_INODE",
        &[("socket_alloc", "vfs_inode"), ("inode", "i_ino")],
    ),
    ("OFF_PID_NUMBER", &[("pid", "numbers"), ("upid", "nr")]),
    ("OFF_UNIX_PEER", &[("unix_sock", "peer")]),
    ("OFF_UNIX_ADDR", &[("unix_sock", "addr")]),
    ("OFF_UNIX_ADDR_USERS", &[("unix_address", "refcnt")]),
    ("OFF_UNIX_ADDR_LEN", &[("unix_address", "len")]),
    ("OFF_UNIX_ADDR_NAME", &[("unix_address", "name")]),
];

/// Global of the programs: whether all that they read of UNIX sockets is known.
const HAS_UNIX: &str = "HAS_UNIX";

/// And where a socket says how many bytes wait in it (from 6.17 on; 0 before): with it both ends of a stream know its places again after runs
/// that the kernel left out.
const UNIX_WAITING: &str = "OFF_UNIX_WAITING";

/// Looks all of them up. Without those of UNIX sockets these are not captured, and all else is.
///
/// # Errors
/// The first field that this kernel lacks.
pub fn resolve(btf: &Btf) -> Result<Vec<(&'static str, u32)>, BtfError> {
    let mut offsets = look_up(btf, OFFSETS)?;
    match look_up(btf, UNIX_OFFSETS) {
        Ok(unix) => {
            offsets.extend(unix);
            let waiting = btf.offset("unix_sock", "inq_len").unwrap_or(0);
            offsets.push((UNIX_WAITING, waiting));
            offsets.push((HAS_UNIX, 1));
        }
        Err(error) => {
            tracing::warn!(%error, "UNIX sockets are not captured");
            offsets.push((HAS_UNIX, 0));
        }
    }
    Ok(offsets)
}

fn look_up(btf: &Btf, fields: &[(&'static str, Path)]) -> Result<Vec<(&'static str, u32)>, BtfError> {
    fields
        .iter()
        .map(|(global, path)| {
            let offset = path.iter().try_fold(0, |sum, (structure, field)| {
                Ok(sum + btf.offset(structure, field)?)
            })?;
            Ok((*global, offset))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_resolves_on_the_running_kernel() {
        let offsets = resolve(&Btf::kernel().unwrap()).unwrap();
        assert_eq!(offsets.len(), OFFSETS.len() + UNIX_OFFSETS.len() + 2);
        assert_eq!(offsets.last(), Some(&(HAS_UNIX, 1)));
        let waiting = offsets.iter().find(|(name, _)| *name == UNIX_WAITING);
        assert!(waiting.is_some());
    }
}
