//! The system's view of a TCP connection.

use tokio::net::TcpStream;

/// Whether a peer's host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    /// Whether sent bytes wait for the host's acknowledgment.
    pub(crate) awaited: bool,
    /// How long ago the host last acknowledged anything.
    pub(crate) last: std::time::Duration,
}

/// Whether the host acknowledges what it is sent. `None` if the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn answers(stream: &TcpStream) -> Option<Answers> {
    use std::time::Duration;

    use nix::sys::socket::GetSockOpt;

    let info = linux::TcpInfo.get(stream).ok()?;
    let probes = info[0].to_ne_bytes()[linux::PROBES];
    // TCP probes a closed window at intervals of up to two minutes, and one probe or its answer may get lost: so only a
    // second unanswered probe counts.
    let awaited = info[linux::UNACKED] > 0 || probes > 1;
    Some(Answers { awaited, last: Duration::from_millis(info[linux::LAST_ACK_RECV].into()) })
}

/// `None`: only Linux is supported.
#[cfg(not(target_os = "linux"))]
pub(crate) fn answers(_stream: &TcpStream) -> Option<Answers> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use nix::getsockopt_impl;
    use nix::libc;
    use nix::sys::socket::sockopt::GetStruct;

    /// `TCP_INFO`.
    #[derive(Clone, Copy)]
    pub(super) struct TcpInfo;

    /// The beginning of `struct tcp_info` as 32-bit words. It is the same in every version of Linux; newer versions append
    /// fields, so the struct's length in a C library may differ from the kernel's.
    type Words = [u32; 26];

    /// `tcpi_probes`: a byte of the first word.
    pub(super) const PROBES: usize = 3;
    pub(super) const UNACKED: usize = 6;
    /// `tcpi_last_ack_recv`, in milliseconds.
    pub(super) const LAST_ACK_RECV: usize = 14;

    getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, Words, GetStruct<Words>);
}
