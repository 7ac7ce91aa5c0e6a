//! A client that says nothing more until it is answered. The clock is the real one: what happens
//! here, the journal's thread brings about.

use super::*;

const SOON: Duration = Duration::from_secs(10);
/// Between two syncs: time for a connection to do all that one of them allows.
const PAUSE: Duration = Duration::from_millis(50);

/// No timer wakes a connection by chance.
fn without_timers() -> Limits {
    Limits { handshake_max: Duration::from_hours(1), ..Limits::default() }
}

impl House {
    /// Lets one sync after the other go until the client has an answer.
    async fn answer_after_syncs(&self, client: &mut Client) -> Vec<u8> {
        let syncs = async {
            loop {
                self.control.step();
                sleep(PAUSE).await;
            }
        };
        let answer = timeout(SOON, client.packet());
        tokio::select! {
            () = syncs => unreachable!("it never ends"),
            answer = answer => answer.expect("an answer without another packet"),
        }
    }
}

#[tokio::test]
async fn each_of_two_groups_is_acknowledged_when_it_is_durable() {
    let mut house = House::with(without_timers());
    let mut client = house.client(CONNECT_311).await;
    client.publish(1, 1).await;
    sleep(PAUSE).await; // The journal's writer takes it, and stands in its sync.
    client.publish(1, 2).await; // In the next group.
    house.is_read().await;
    assert_eq!(house.answer_after_syncs(&mut client).await, [0x40, 2, 0, 1]);
    assert_eq!(house.answer_after_syncs(&mut client).await, [0x40, 2, 0, 2]);
}

#[tokio::test]
async fn what_came_while_a_submission_waited_for_room_is_stored_without_another_packet() {
    // One submission uses the budget up, so that the second waits, and the third is read meanwhile.
    let limits = intake::Limits { budget_bytes: 400, ..intake::Limits::default() };
    let mut house = house(without_timers(), limits);
    let mut client = house.client(CONNECT_311).await;
    for id in 1..=3 {
        client.publish(1, id).await;
        house.is_read().await;
    }
    house.control.release();
    for id in 1..=3 {
        let answer = timeout(SOON, client.packet()).await.expect("an answer");
        assert_eq!(answer, [0x40, 2, 0, id]);
    }
}
