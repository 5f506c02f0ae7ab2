//! A leader whose disk is full.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::process::{Leader, Program, ReplicaProcess, bin_dir, free_address};
use engine::Operation;
use follower::Calls;
use follower::grpc::SubmitError;
use tempfile::TempDir;
use tokio::process::Command;
use wire::pb::{ReadEventsRequest, operation};

use super::{ALONE, calls, check_verified, wait_for_tail};

/// A small disk: a tmpfs in a mount namespace of its own. It is gone when this is dropped.
struct SmallDisk {
    /// Keeps the namespace while no leader runs in it.
    holder: Program,
    directory: PathBuf,
    /// The flags with which `nsenter` enters the namespace.
    enter: &'static [&'static str],
}

impl SmallDisk {
    /// Mounts one at `directory`, in a user namespace, or as root where user namespaces are not allowed.
    async fn mount(directory: &Path) -> Self {
        let ways: [(&[&str], &[&str]); 2] = [
            (&["--user", "--map-root-user", "--mount"], &["--user", "--preserve-credentials", "--mount"]),
            (&["--mount"], &["--mount"]),
        ];
        let script = r#"mount -t tmpfs -o size=2m,mode=700 tmpfs "$0" && echo mounted && exec sleep 600"#;
        let mut said = Vec::new();
        for (unshare, enter) in ways {
            let mut command = Command::new("unshare");
            let holder = Program::spawn(command.args(unshare).args(["sh", "-c", script]).arg(directory));
            let holder = holder.expect("the program `unshare` of util-linux is needed");
            let answer = |line: &str| match line {
                "mounted" => Some(true),
                line => (line.contains("mount:") || line.contains("unshare:")).then_some(false),
            };
            if holder.wait_for(answer).await.unwrap() {
                let disk = Self { holder, directory: directory.to_owned(), enter };
                let devices = (fs::metadata(directory).unwrap().dev(), fs::metadata(disk.inside()).unwrap().dev());
                assert_ne!(devices.0, devices.1, "the small disk is not mounted where it should be");
                return disk;
            }
            said.extend(holder.lines());
        }
        panic!("this test mounts a small tmpfs, for which it must be allowed user namespaces, or be root: {said:?}");
    }

    /// The path of the disk outside its namespace.
    fn inside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id().unwrap()));
        root.join(self.directory.strip_prefix("/").unwrap())
    }

    /// `calculator-leader` in the namespace, with its log on the disk. SQLite resolves links, so the path from outside does not work.
    fn leader(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.holder.id().unwrap().to_string()).args(self.enter);
        command.arg(bin_dir().canonicalize().unwrap().join("calculator-leader"));
        command.args(arguments).arg("--data-dir").arg(&self.directory).kill_on_drop(true);
        command
    }

    fn start_leader(&self, listen: &str) -> Program {
        let mut command = self.leader(&["--listen", listen, "--no-generator"]);
        Program::spawn(&mut command).expect("the program `nsenter` of util-linux is needed")
    }

    /// Leaves no room at all.
    fn fill_up(&self) {
        let mut ballast = fs::File::create(self.inside().join("ballast")).unwrap();
        let full = loop {
            if let Err(error) = ballast.write_all(&[0; 1024]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    }

    fn make_room(&self) {
        fs::remove_file(self.inside().join("ballast")).unwrap();
    }
}

/// Submits numbers one by one, and remembers those that were acknowledged, in order: the log must be the same.
struct Client {
    calls: Calls,
    next: i64,
    acknowledged: Vec<i64>,
}

impl Client {
    async fn submit(&mut self) -> Result<(), SubmitError> {
        let argument = self.next;
        self.next += 1;
        let event = self.calls.submit(Operation::Add(argument)).await?;
        self.acknowledged.push(argument);
        assert_eq!(event.index.0, self.acknowledged.len() as u64, "the log has something that was not acknowledged");
        assert_eq!(event.value, self.acknowledged.iter().sum::<i64>());
        Ok(())
    }

    /// Submits until the disk is full. SQLite accepts what fits into the space that it has already.
    async fn submit_until_full(&mut self) {
        for _ in 0..100 {
            match self.submit().await {
                Ok(()) => {}
                Err(SubmitError::NotCommitted(reason)) => return assert!(reason.contains("disk is full"), "{reason}"),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("a full disk takes a hundred operations");
    }

    /// Checks that the log on the disk is what was acknowledged and nothing else.
    async fn check(&self, leader: &Leader) {
        let status = leader.status().await.unwrap();
        assert_eq!(status.tail, self.acknowledged.len() as u64);
        assert_eq!(status.value, self.acknowledged.iter().sum::<i64>());
        let request = ReadEventsRequest { first_index: 1, page_size: 10_000 };
        let page = leader.client().await.unwrap().read_events(request).await.unwrap().into_inner();
        let log: Vec<i64> = page
            .operations
            .into_iter()
            .map(|operation| match operation.kind {
                Some(operation::Kind::Add(argument)) => argument,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(log, self.acknowledged);
    }
}

/// Starts a replica and waits until it holds the end of the log.
async fn follow_to_the_end(leader: &Leader, name: &str) -> ReplicaProcess {
    let replica = ReplicaProcess::start(&leader.url(), name).unwrap();
    let status = leader.status().await.unwrap();
    wait_for_tail(&replica, status.tail, &format!("{:016x}", status.digest)).await;
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_acknowledging_keeps_serving_and_recovers() {
    let _alone = ALONE.lock().await;
    let mount_point = TempDir::new().unwrap();
    let disk = SmallDisk::mount(mount_point.path()).await;
    let listen = free_address().unwrap().to_string();
    let leader = Leader::up(disk.start_leader(&listen)).await.unwrap();
    let name = fs::read_to_string(format!("/proc/{}/comm", leader.program.id().unwrap())).unwrap();
    assert_eq!(name.trim(), "calculator-lead", "killing the child must kill the leader");
    let mut client = Client { calls: calls(&leader.url()), next: 1, acknowledged: Vec::new() };
    for _ in 0..10 {
        client.submit().await.unwrap();
    }

    disk.fill_up();
    client.submit_until_full().await;
    for _ in 0..3 {
        assert!(matches!(client.submit().await, Err(SubmitError::NotCommitted(_))));
    }
    let problem = leader.status().await.unwrap().log_problem;
    assert!(problem.contains("disk is full"), "{problem:?}");
    leader.program.wait_for(|line| line.contains("operations are refused").then_some(())).await.unwrap();
    client.check(&leader).await;
    let replica = follow_to_the_end(&leader, "fresh").await;

    // Nobody submits now, so only the leader itself can notice that there is room.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(leader.status().await.unwrap().log_problem.contains("disk is full"), "it is still full");
    disk.make_room();
    let room = Instant::now();
    while !leader.status().await.unwrap().log_problem.is_empty() {
        assert!(room.elapsed() < Duration::from_secs(5), "an idle leader does not notice that there is room");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("an idle leader knew {:?} after there was room", room.elapsed());

    disk.fill_up();
    client.submit_until_full().await;
    disk.make_room();
    let room = Instant::now();
    while let Err(error) = client.submit().await {
        assert!(matches!(error, SubmitError::NotCommitted(_)), "{error}");
        assert!(room.elapsed() < Duration::from_secs(5), "with room on the disk: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("an operation was taken {:?} after there was room", room.elapsed());
    assert_eq!(leader.status().await.unwrap().log_problem, "");
    leader.program.wait_for(|line| line.contains("the log can be written again").then_some(())).await.unwrap();
    client.check(&leader).await;
    let status = leader.status().await.unwrap();
    wait_for_tail(&replica, status.tail, &format!("{:016x}", status.digest)).await;

    disk.fill_up();
    client.submit_until_full().await;
    leader.program.kill().await.unwrap();
    let mut without_room = disk.start_leader(&listen);
    let full = |line: &str| line.contains("disk is full").then(|| line.to_owned());
    let said = without_room.wait_for(full).await.unwrap();
    assert!(!without_room.ended().await.unwrap().success());
    println!("a leader that starts on a full disk says {said:?}");

    disk.make_room();
    let leader = Leader::up(disk.start_leader(&listen)).await.unwrap();
    client.calls = calls(&leader.url());
    client.check(&leader).await;
    client.submit().await.unwrap();
    client.check(&leader).await;
    let status = leader.status().await.unwrap();
    wait_for_tail(&replica, status.tail, &format!("{:016x}", status.digest)).await;
    leader.program.kill().await.unwrap();
    let verified = disk.leader(&["verify"]).output().await.unwrap();
    check_verified(&verified);
}
