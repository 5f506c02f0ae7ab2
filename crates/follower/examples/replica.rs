//! A replica: `cargo run -p follower --example replica -- localhost:8080` follows the leader there, and prints value, index
//! and digest whenever they change.

use std::error::Error;
use std::io::{Write, stdout};
use std::{env, process};

use engine::Replica;
use engine::replica::Notice;
use follower::{InvalidAddress, Observer, connect, follow};
use wire::{Identity, ReplicaKind};

struct Printer<W>(W);

impl<W: Write> Observer for Printer<W> {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        if let Notice::SnapshotLoaded { .. } | Notice::Applied { .. } = notice
            && let Some(held) = replica.snapshot()
        {
            let (value, position) = (held.value(), held.position());
            // A reader that is gone does not stop the replica.
            let _ = writeln!(self.0, "value {value} index {} digest {}", position.index, position.digest);
        }
    }
}

pub(crate) async fn run(leader: &str, output: impl Write) -> Result<(), InvalidAddress> {
    let identity = Identity { id: process::id().to_string(), name: "example".to_owned(), kind: ReplicaKind::Native };
    let link = connect(leader, identity)?;
    match follow(Replica::new(process::id().into()), link, &mut Printer(output)).await {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let leader = env::args().nth(1).ok_or("give the address of a leader, such as localhost:8080")?;
    Ok(run(&leader, stdout()).await?)
}
