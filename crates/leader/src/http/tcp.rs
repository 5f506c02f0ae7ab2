//! What the system knows about a TCP connection.

use tokio::net::TcpStream;

/// Whether a peer's host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    /// Something was sent that the host should have acknowledged.
    pub(crate) awaited: bool,
    /// How long ago the host last acknowledged anything.
    pub(crate) last: std::time::Duration,
}

/// `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn answers(stream: &TcpStream) -> Option<Answers> {
    use std::time::Duration;

    use nix::sys::socket::GetSockOpt;

    let info = linux::TcpInfo.get(stream).ok()?;
    let probes = info[0].to_ne_bytes()[linux::PROBES];
    // A closed window is asked about now and then, up to two minutes apart, and one question or its answer may be lost.
    // What was sent into an open window is sent again by TCP itself.
    let awaited = info[linux::UNACKED] > 0 || probes > 1;
    Some(Answers { awaited, last: Duration::from_millis(info[linux::LAST_ACK_RECV].into()) })
}

/// `None`: the system does not tell.
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

    /// The beginning of `struct tcp_info`, which no version of Linux has changed, as 32-bit words. Later versions have
    /// more, so the length that a C library knows is not the length that every system gives.
    type Words = [u32; 26];

    /// `tcpi_probes`: a byte of the first word.
    pub(super) const PROBES: usize = 3;
    /// `tcpi_unacked`.
    pub(super) const UNACKED: usize = 6;
    /// `tcpi_last_ack_recv`, in milliseconds.
    pub(super) const LAST_ACK_RECV: usize = 14;

    getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, Words, GetStruct<Words>);
}
