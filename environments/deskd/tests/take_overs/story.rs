//! What happens, one random step after the other, and what must be so after each.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use a8s_rfb::encode;
use a8s_vnc_proxy::access::Mode;
use a8s_wire::{Holder, SetControl};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    agent::{self, Shared},
    browser::{Browser, LIMIT},
    figures::Figures,
    gate::Gate,
    host::Host,
    seat::Seat,
    witness::{Deed, Witness},
};

/// The stage and what the story knows.
struct Story {
    host: Host,
    gate: Gate,
    witness: Witness,
    seats: [Seat; 4],
    /// `None`: the agent.
    holder: Option<&'static str>,
    private: bool,
    epoch: i64,
    random: StdRng,
    shared: Arc<Shared>,
    figures: Figures,
    colour: u32,
    size: (u16, u16),
    told: Vec<String>,
}

/// Plays for so long.
pub async fn play(seed: u64, time: Duration) -> Figures {
    let host = Host::start().await;
    let (gate, witness) = (Gate::before(&host).await, Witness::cover(&host));
    let shared = Arc::new(Shared::default());
    let agent = tokio::spawn(agent::work(host.agent().await, shared.clone(), seed));
    let mut seats = [
        Seat::new("jane", ['a', 'b', 'c'], Some(200), 0xffe3),
        Seat::new("joe", ['d', 'e', 'f'], Some(400), 0xffe9),
        Seat::new("joe", ['g', 'h', 'i'], None, 0xffe4),
        Seat::new("ann", ['j', 'k', 'l'], Some(600), 0xffe2),
    ];
    (seats[3].mode, seats[0].continuous, seats[3].continuous) = (Mode::View, true, true);
    let mut story = Story {
        host,
        gate,
        witness,
        seats,
        holder: None,
        private: false,
        epoch: 0,
        random: StdRng::seed_from_u64(seed),
        shared: shared.clone(),
        figures: Figures::default(),
        colour: 0,
        size: (1000, 700),
        told: Vec::new(),
    };
    let until = Instant::now() + time;
    while Instant::now() < until {
        assert!(!agent.is_finished(), "the agent's part failed; see above");
        story.step().await;
        story.figures.steps += 1;
    }
    shared.over.store(true, Ordering::SeqCst);
    agent.await.unwrap();
    story.figures.agent_did = shared.did.load(Ordering::Relaxed);
    story.figures.agent_refused = shared.refused.load(Ordering::Relaxed);
    std::mem::take(&mut story.figures)
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.told.len().saturating_sub(12);
            println!("holder {:?}, private {}, last steps:", self.holder, self.private);
            self.told[last..].iter().for_each(|line| println!("  {line}"));
        }
    }
}

impl Story {
    fn tell(&mut self, line: String) {
        self.told.push(line);
    }

    async fn step(&mut self) {
        let seat = self.random.random_range(0..self.seats.len());
        match self.random.random_range(0..21) {
            0..3 => self.transfer(false).await,
            // Many changes, each as soon as the one before is answered.
            3 => {
                for _ in 0..self.random.random_range(2..6) {
                    self.transfer(false).await;
                }
            }
            4..6 => self.rush().await,
            6..12 => self.act().await,
            12..16 => self.intrude(seat).await,
            16 => self.end(seat, true),
            17 => {
                let seat = self.hand().unwrap_or(seat);
                self.end(seat, false);
            }
            18 => self.nap(seat),
            19 => self.resize().await,
            _ => {}
        }
        for seat in 0..self.seats.len() {
            if self.random.random_bool(0.5) {
                self.come(seat).await;
            }
        }
        if self.holder.is_none() {
            // The agent is slower than this story, and is to be overtaken wherever it is.
            tokio::time::sleep(Duration::from_millis(self.random.random_range(0..200))).await;
        }
        self.check().await;
    }

    /// Control changes hands, or only becomes private or public if the holder is not to be `another`.
    async fn transfer(&mut self, another: bool) {
        let mut possible = vec![None, None, Some("jane"), Some("joe")];
        possible.retain(|holder| !another || *holder != self.holder);
        let wanted = possible[self.random.random_range(0..possible.len())];
        let private = wanted.is_some() && self.random.random_bool(0.3);
        self.tell(format!("control to {wanted:?}, private {private}"));
        self.epoch += 1;
        let holder = if wanted.is_some() { Holder::User } else { Holder::Agent };
        let control = SetControl { holder, user: wanted.map(Into::into), private, epoch: self.epoch };
        let changes = u64::from(wanted != self.holder);
        self.shared.reign.fetch_add(changes, Ordering::SeqCst);
        let began = Instant::now();
        assert_eq!(self.host.set_control(&control).await.0, 200);
        self.figures.transfer.since(began);
        self.shared.people.store(wanted.is_some(), Ordering::SeqCst);
        self.shared.reign.fetch_add(changes, Ordering::SeqCst);
        let before = std::mem::replace(&mut self.holder, wanted);
        if before != wanted {
            self.seats.iter_mut().for_each(Seat::forget);
        }
        self.private = private;
        self.judge(&[before, wanted]);
        self.figures.transfers += 1;
        self.figures.in_private += usize::from(private);
        for seat in 0..self.seats.len() {
            let excluded = !self.may_see(seat);
            if let Some(mut browser) = self.seats[seat].browser.take_if(|_| excluded) {
                self.tell(format!("window {seat} must close"));
                browser.closed().await;
                self.seats[seat].forget();
            }
        }
    }

    fn may_see(&self, seat: usize) -> bool {
        !self.private || self.holder == Some(self.seats[seat].user)
    }

    /// Everything that was done since the last time was done by one of these.
    fn judge(&self, holders: &[Option<&'static str>]) -> Vec<Deed> {
        let deeds = self.witness.deeds();
        for deed in &deeds {
            let by = self.doer(*deed);
            assert!(holders.contains(&by), "{deed:?} of {by:?} while {holders:?} had control");
        }
        deeds
    }

    fn doer(&self, deed: Deed) -> Option<&'static str> {
        let agents = match deed {
            Deed::Letter(letter) => agent::LETTERS.contains(&letter),
            Deed::At(x) => x.cast_unsigned() < agent::COLUMN,
        };
        let seat = self.seats.iter().find(|seat| match deed {
            Deed::Letter(letter) => seat.letters.contains(&letter),
            Deed::At(x) => seat.column.is_some_and(|left| (left..left + 200).contains(&x.cast_unsigned())),
        });
        if agents { None } else { Some(seat.map_or("nobody", |seat| seat.user)) }
    }

    /// A window of the holder, if there is one that can do something.
    fn hand(&mut self) -> Option<usize> {
        let can =
            |seat: &Seat| Some(seat.user) == self.holder && seat.browser.as_ref().is_some_and(Browser::awake);
        let able: Vec<_> = (0..self.seats.len()).filter(|seat| can(&self.seats[*seat])).collect();
        (!able.is_empty()).then(|| able[self.random.random_range(0..able.len())])
    }

    /// The holder does something, and all of it arrives.
    async fn act(&mut self) {
        let Some(hand) = self.hand() else { return };
        let (random, seat) = (&mut self.random, &mut self.seats[hand]);
        let mut bytes = Vec::new();
        let many = random.random_range(0..30);
        for _ in 0..many {
            let letter = u32::from(seat.letters[random.random_range(0..2)]);
            bytes.extend([encode::key(letter, true), encode::key(letter, false)].concat());
        }
        for symbol in [u32::from(seat.letters[2]), seat.modifier] {
            if random.random_bool(0.4) {
                let down = seat.keys.insert(symbol) || !seat.keys.remove(&symbol);
                bytes.extend(encode::key(symbol, down));
            }
        }
        let mut place = None;
        if let Some(left) = seat.column {
            let (x, y) = (left + random.random_range(0..200), random.random_range(5_u16..600));
            seat.button = [0, 0, 1, 2, 4][random.random_range(0..5)];
            bytes.extend([encode::pointer(0, x, y), encode::pointer(seat.button, x, y)].concat());
            place = Some((x.cast_signed(), y.cast_signed()));
        }
        let (keys, button) = (seat.keys.len(), seat.button);
        self.tell(format!("window {hand} types {many}, holds {keys} keys and button {button} at {place:?}"));
        let Some(browser) = &self.seats[hand].browser else { return };
        browser.send(bytes);
        assert!(browser.barrier().await, "the holder's stream ended");
        let deeds = self.judge(&[self.holder]);
        let typed = deeds.iter().filter(|deed| match deed {
            Deed::Letter(letter) => self.seats[hand].letters[..2].contains(letter),
            Deed::At(_) => false,
        });
        assert_eq!(typed.count(), many, "of what the holder typed");
        if let Some(place) = place {
            assert_eq!(self.witness.pointer(), place, "the holder's pointer is ignored");
        }
        self.figures.typed += many;
    }

    /// The holder's window has another size. What everybody clicks and looks at is in all of them.
    async fn resize(&mut self) {
        let Some(hand) = self.hand() else { return };
        self.size = (self.random.random_range(1000..1400), self.random.random_range(700..900));
        self.tell(format!("window {hand} wants {:?}", self.size));
        let Some(browser) = &self.seats[hand].browser else { return };
        browser.send(encode::set_desktop_size(self.size.0, self.size.1));
        assert!(browser.barrier().await, "the stream of who resizes ended");
        self.figures.resized += 1;
    }

    /// Control is taken from somebody in the middle of something.
    async fn rush(&mut self) {
        let Some(hand) = self.hand() else { return };
        self.tell(format!("window {hand} is in a rush"));
        let seat = &self.seats[hand];
        let mut bytes = Vec::new();
        for symbol in seat.letters.into_iter().map(u32::from).chain([seat.modifier]) {
            bytes.extend(encode::key(symbol, true));
        }
        if let Some(left) = seat.column {
            bytes.extend((0..100).flat_map(|step| encode::pointer(1, left + step, 300)));
        }
        if let Some(browser) = &seat.browser {
            browser.send(bytes);
        }
        self.transfer(true).await;
        if let Some(browser) = &self.seats[hand].browser {
            // What is still on its way comes too late.
            assert!(browser.barrier().await, "the loser's stream ended");
        }
    }

    /// Somebody who does not have control tries everything.
    async fn intrude(&mut self, intruder: usize) {
        let seat = &self.seats[intruder];
        let may = Some(seat.user) == self.holder && seat.mode == Mode::Control;
        let Some(browser) = seat.browser.as_ref().filter(|browser| browser.awake() && !may) else { return };
        let x = seat.column.unwrap_or(800) + 10;
        let key = u32::from(seat.letters[0]);
        browser.send(
            [
                &encode::key(key, true)[..],
                &encode::pointer(1, x, 200),
                &encode::qemu_key(seat.modifier, 29, true),
                &encode::cut_text(b"intruder"),
                &encode::set_desktop_size(640, 480),
                &encode::pointer(4, x, 210),
            ]
            .concat(),
        );
        assert!(browser.barrier().await, "the stream of somebody who watches ended");
        self.tell(format!("window {intruder} intruded"));
        self.figures.intruded += 1;
    }

    /// A window is closed, or its machine is gone.
    fn end(&mut self, seat: usize, politely: bool) {
        let Some(browser) = self.seats[seat].browser.take_if(|browser| browser.awake()) else { return };
        self.tell(format!("window {seat} ends, politely: {politely}"));
        let holds = !self.seats[seat].keys.is_empty() || self.seats[seat].button != 0;
        self.figures.vanished_holding += usize::from(holds && !politely);
        self.seats[seat].forget();
        if politely {
            browser.leave();
        } else {
            // In the middle of a message.
            browser.send(&encode::key(u32::from(self.seats[seat].letters[2]), true)[..5]);
            browser.vanish();
        }
    }

    fn nap(&mut self, seat: usize) {
        let time = Duration::from_millis(self.random.random_range(100..1500));
        if let Some(browser) = self.seats[seat].browser.as_mut().filter(|browser| browser.awake()) {
            browser.nap(time);
            self.tell(format!("window {seat} does not read for {time:?}"));
        }
    }

    /// A window is opened, if there is none.
    async fn come(&mut self, seat: usize) {
        if self.seats[seat].browser.is_some() {
            return;
        }
        self.tell(format!("window {seat} opens"));
        self.figures.connections += 1;
        let Seat { user, mode, continuous, .. } = self.seats[seat];
        let mut browser = Browser::look(self.gate.open(user, mode).await, continuous);
        if self.may_see(seat) {
            assert!(browser.barrier().await, "the stream ended at once");
            self.seats[seat].browser = Some(browser);
        } else {
            assert_eq!(browser.closed().await, 4423, "{user} sees what is private");
            self.figures.refused_private += 1;
        }
    }

    async fn check(&mut self) {
        // The agent's own keys are only known between two of its calls, which take long.
        if self.holder.is_some() || self.random.random_bool(0.3) {
            self.still().await;
        }
        self.judge(&[self.holder]);
        assert_eq!(self.witness.size(), self.size, "of the desktop");
        self.fresh().await;
    }

    /// What is held down is what the holder holds.
    async fn still(&mut self) {
        let shared = self.shared.clone();
        let _turn = if self.holder.is_none() { Some(shared.turn.lock().await) } else { None };
        let reign = shared.reign.load(Ordering::SeqCst);
        let buttons = match (self.holder, *shared.pressed.lock().unwrap()) {
            (None, Some(pressed)) if pressed == reign => 1,
            // Between being given control and this story knowing of it.
            (None, Some(pressed)) if pressed + 1 == reign => self.witness.held().buttons & 1,
            (None, _) => 0,
            (Some(_), _) => self.seats.iter().fold(0, |mask, seat| mask | seat.button),
        };
        let keys = self.seats.iter().map(|seat| seat.keys.len()).sum();
        self.held(keys, buttons).await;
    }

    /// Nothing is held down but what somebody holds.
    async fn held(&mut self, keys: usize, buttons: u8) {
        let began = Instant::now();
        loop {
            let held = self.witness.held();
            if (held.keys.len(), held.buttons) == (keys, buttons) {
                break;
            }
            assert!(
                began.elapsed() < LIMIT,
                "{keys} keys and buttons {buttons:03b} are held, X has {held:?}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.figures.released.since(began);
    }

    /// Everybody who watches sees what changes.
    async fn fresh(&mut self) {
        self.colour = (self.colour + 0x01_03_07) & 0xff_ff_ff;
        let began = Instant::now();
        self.witness.show(self.colour);
        for (number, seat) in self.seats.iter_mut().enumerate() {
            if let Some(browser) = seat.browser.as_mut().filter(|browser| browser.awake()) {
                if let Err(why) = browser.sees(self.colour).await {
                    panic!("window {number} of {} sees nothing new: {why}", seat.user);
                }
                self.figures.fresh.since(began);
            }
        }
    }
}
