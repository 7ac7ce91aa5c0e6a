//! What waits, what it becomes, and how much of it there may be.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn held() -> Held {
    Held::new(10 * SECOND, 8 * 1024)
}

fn hold(held: &mut Held, topic: &str, number: u64, at: u32) -> bool {
    let speaker = Topic::parse(topic).unwrap();
    let payload = vec![0; 100];
    let waiting = Waiting { number, source: "mqtt".into(), topic: topic.into(), payload };
    let since = at * SECOND;
    held.hold(&speaker, Entry { waiting, since, record: number, is_doubtful: false })
}

fn born(held: &mut Held, topic: &str) {
    held.born(&Topic::parse(topic).unwrap(), Names::default);
}

fn due(held: &mut Held, at: u32) -> Vec<(u64, &'static str)> {
    let due = held.take_due(at * SECOND);
    assert!(held.due().count() >= due.len(), "until it is settled");
    for (waiting, _) in &due {
        held.settled(waiting.number);
    }
    due.into_iter().map(|(waiting, fate)| (waiting.number, name(&fate))).collect()
}

fn name(fate: &Fate) -> &'static str {
    match fate {
        Fate::Explained(_) => "explained",
        Fate::Unclear => "unclear",
        Fate::Died => "died",
        Fate::TooLate => "too late",
    }
}

#[test]
fn a_birth_explains_what_its_own_speaker_sent() {
    let mut held = held();
    for (number, topic) in ["g/NDATA/n", "g/DDATA/n/d", "g/DDATA/n/e", "g/NDATA/n2"]
        .map(|topic| format!("spBv1.0/{topic}"))
        .iter()
        .enumerate()
    {
        assert!(hold(&mut held, topic, number as u64, 0));
    }
    born(&mut held, "spBv1.0/g/DBIRTH/n/d");
    assert_eq!(due(&mut held, 0), [(1, "explained")]);
    held.died(&Topic::parse("spBv1.0/g/NDEATH/n").unwrap());
    assert_eq!(due(&mut held, 0), [(0, "died"), (2, "died")]);
    assert_eq!((held.messages(), held.oldest()), (1, Some(("g/n2", Duration::ZERO))));
    born(&mut held, "spBv1.0/g/NBIRTH/n2");
    assert_eq!(due(&mut held, 0), [(3, "explained")]);
    assert_eq!((held.messages(), held.bytes(), held.deadline()), (0, 0, None));
}

#[test]
fn a_device_dies_alone() {
    let mut held = held();
    hold(&mut held, "spBv1.0/g/DDATA/n/d", 1, 0);
    hold(&mut held, "spBv1.0/g/DDATA/n/e", 2, 0);
    held.died(&Topic::parse("spBv1.0/g/DDEATH/n/d").unwrap());
    assert_eq!(due(&mut held, 0), [(1, "died")]);
}

#[test]
fn nothing_waits_for_ever() {
    let mut held = held();
    hold(&mut held, "spBv1.0/g/NDATA/n", 1, 0);
    hold(&mut held, "spBv1.0/g/NDATA/n", 2, 5);
    assert_eq!(held.deadline(), Some(10 * SECOND));
    assert_eq!(due(&mut held, 9), []);
    assert_eq!(due(&mut held, 10), [(1, "too late")]);
    assert_eq!(held.deadline(), Some(15 * SECOND));
    assert_eq!(due(&mut held, 60), [(2, "too late")]);
    assert_eq!(held.bytes(), 0);
}

#[test]
fn there_is_room_for_so_much_and_for_a_quarter_of_it_from_one_node() {
    let mut held = held();
    let topics = ["spBv1.0/g/NDATA/a", "spBv1.0/g/DDATA/a/d"];
    let took = (0..100).filter(|at| hold(&mut held, topics[at % 2], *at as u64, 0)).count();
    assert_eq!(took, 5, "2 KiB");
    let other = |at: usize| format!("spBv1.0/g/NDATA/n{at}");
    let took = (0..100).filter(|at| hold(&mut held, &other(*at), *at as u64, 0)).count();
    assert_eq!(took, 16);
    assert!(held.bytes() <= 8 * 1024);
    assert_eq!(held.waiting().count(), 21);
    held.died(&Topic::parse("spBv1.0/g/NDEATH/a").unwrap());
    assert!(!hold(&mut held, "spBv1.0/g/NDATA/a", 1, 0), "what is due is not gone");
    due(&mut held, 0);
    assert!(hold(&mut held, "spBv1.0/g/NDATA/a", 1, 0));
}

#[test]
fn what_is_in_doubt_is_explained_only_by_a_birth_of_the_same_life() {
    let mut held = held();
    for (number, topic) in [(1, "spBv1.0/g/NDATA/n"), (2, "spBv1.0/g/DDATA/n/d")] {
        hold(&mut held, topic, number, 0);
    }
    held.doubt();
    hold(&mut held, "spBv1.0/g/NDATA/n", 3, 0);
    born(&mut held, "spBv1.0/g/NBIRTH/n");
    assert_eq!(due(&mut held, 0), [(1, "unclear"), (3, "explained")]);
    held.trust(&Topic::parse("spBv1.0/g/NBIRTH/n").unwrap());
    born(&mut held, "spBv1.0/g/DBIRTH/n/d");
    assert_eq!(due(&mut held, 0), [(2, "explained")]);
}

#[test]
fn what_is_on_no_disk_does_not_wait_and_what_is_on_one_does() {
    let mut held = held();
    for number in 0..4 {
        hold(&mut held, "spBv1.0/g/NDATA/n", number, 0);
    }
    held.give_up(Some(1));
    assert_eq!(due(&mut held, 0), [(2, "too late"), (3, "too late")]);
    held.give_up(None);
    assert_eq!(due(&mut held, 0), [(0, "too late"), (1, "too late")]);
    assert_eq!((held.messages(), held.bytes()), (0, 0));
}
