"""Make the bundled sample of texts: short news-style headlines on four topics, all invented, no download.

A headline is either one of the hand-written ONE_OFFS below or a pattern of PATTERNS and FRAMES, filled in from SLOTS:
`{place}` stands for any entry of SLOTS["place"], which may hold further slots. Writes next to this file

    headlines.csv    text, label, split; 1,000 headlines, 250 per label; train 700, val 150, test 150, stratified

Every choice comes from a generator with a fixed seed, so running it again writes the same bytes. A file of that name
is overwritten.

Run:    python data/samples/text/make_sample.py
Needs:  numpy.
"""

import csv
import re
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
SEED = 1
PER_LABEL = 250
MAX_PER_PATTERN = 8
NUM_WORDS = (4, 14)

# Places, persons, teams and firms serve all topics, so that a name does not give the topic away.
SLOTS = {
    "place": "Velmora|Ostrany|Karsten Bay|Tollhaven|Marisca|Brundel|Kestova|Lindholt|Aramoor|Pellingham|Nørdal|Zürnau|São Verano"
    "|Besançel|Málvora|Dunmarrow|Irvaska|Quenby|Tashkul|Orrinmouth|Selby Ford|Castelmar|Harrowick|Novigar|Ymirsund|Jubaro|Lac d'Or",
    "surname": "Halloran|Vantongeren|Okwuosa|Mirelli|Lindqvistad|Dubrovač|Achterberg|Pemberley|Tanakawa|Ruiz-Ferro|O'Shaunty|Kowalik"
    "|Étienne|Brandvold|Mwangala|Sørby|Castellane|Haddadi|Winterbourne|Petrossi|Ashgrove|Yilmaran|Novotna-Price|Gräber",
    "first": "Ada|Bruno|Célia|Dov|Elin|Farid|Greta|Hamish|Ines|Jonas|Keziah|Luca|Maren|Nadia|Otis|Priya|Rosa|Søren|Tomas|Uma|Zoë",
    "person": "{first} {surname}",
    "n": "two|three|four|five|six|seven|eight|nine|10|11|12|14|18|20|25|30",
    "few": "two|three|four|five|six",
    "big": "200|350|480|600|750|900|1,200|1,500|2,000|3,400|8,000|12,500|40,000",
    "season": "spring|summer|autumn|winter",
    "team": "{place}|{place}|{place} Rovers|{place} United|{place} City|the {place} Herons|the {place} Foxes|{place} Wanderers",
    "firm": "Corvane|Halbrook & Daughters|Nordwick Energy|Pellucid Foods|Tamsel Motors|Brightwen Rail|Ashgrove Textiles|Quillonis|Ferroxa"
    "|Greyfell Mining|Lumerai|Café Andrelle|Sundby Wings|{place} Power|{place} Bank|{surname} & Co|{surname} Brothers|Tidemark Cargo",
    "money": "£{m}m|€{m}m|${m}m|£2bn|€1.4bn|$6bn",
    "m": "3|7|12|18|24|40|55|65|90|120|250|310",
    "pct": "0.5|1.2|2|2.5|3|4|5.5|6|8|11|15|23",
    "nth": "second|third|fourth|fifth|sixth|seventh",
    # world
    "grievance": "bread prices|a disputed vote|the arrest of {person}|plans to cut pensions|a ban on strikes|a pit closure|dirty water",
    "disaster": "a landslide|an earthquake|a cyclone|a flood|a ferry fire|a mine collapse|a dust storm",
    "trouble": "a tapes scandal|a lost confidence vote|a row over his palace|weeks of protest|a court ruling|a split over the budget",
    "accord": "the river treaty|a prisoner swap|a fishing deal|the border line|a grain corridor|a joint market|visa-free travel",
    "crowd": "90|140|200|350|480",
    # sport
    "score": "1-0|2-0|2-1|3-1|3-2|4-0|4-3|21-17|28-24|33-12|88-84",
    "stage": "the last eight|the semi-finals|the final|the cup quarter-finals|the play-offs|the next round",
    "injury": "a torn hamstring|a broken wrist|knee trouble|a back strain|concussion|a cracked rib",
    "event": "the coastal marathon|the winter games|the indoor championships|the {place} Open|the islands cup|the lake regatta",
    "athlete": "sprinter|rower|cyclist|hurdler|swimmer|gymnast|skier|boxer|archer",
    "position": "striker|keeper|full-back|winger|fly-half|coach|captain",
    "draw": "0-0|1-1|2-2|3-3",
    "rout": "4-0|5-1|6-0|7-2|33-12|41-7",
    # business
    "jumps": "jump|fall|slide|climb|sink|hit a record|drop {pct}%|rise {pct}%",
    "falls": "fall|slide|sink|shrink|halve|drop {pct}%|down {pct}%",
    "goods": "kettles|prams|e-bikes|heaters|phones|soup tins|car seats|batteries",
    "fault": "fire risk|faulty brakes|a sensor fault|cracks|mould|leaks|a labelling error",
    "cost": "fuel costs|weak demand|a cold {season}|a rail strike|the price of copper|a poor harvest|a strong currency|shipping delays",
    "asset": "a lithium field|the {place} ferry line|a 5,000-home site|the {place} port|a chain of bakeries|the night-train network",
    "trade": "wheat|copper|coffee|gas|timber|nickel|cocoa|wool|tin",
    # science
    "body": "a distant moon|Saturn's largest moon|a nearby comet|the far side of the Moon|a dwarf planet|Mars|an icy asteroid",
    "animal": "bats|crows|octopuses|bees|moths|eels|tortoises|sea otters|ants|frogs|sharks|whales",
    "swimmer": "octopuses|eels|sea otters|sharks|whales|squid|jellyfish|crabs",
    "snag": "high wind|a fuel leak|a sensor fault|a stray boat|ice",
    "crop": "wheat|rice|millet|maize|cocoa",
    "habit": "sleep|memory|blood pressure|gut bacteria|hearing loss|bone strength|heart health|ageing cells",
    "cause": "night work|air quality|salt|daily walks|loud music|late meals|screen light|lead in water|birdsong",
    "relic": "a giant otter|a feathered lizard|an early whale|a horse the size of a cat|a toothed bird|a sea scorpion",
    "thing": "ice sheet|coral reef|seagrass field|peat bog|lava field|glacier|cave system|old forest",
    "living": "coral reef|seagrass field|peat bog|glacier|ice sheet|old forest",
    "gear": "a laser|a swarm of drones|old ship logs|a space telescope|cheap sensors|a home-made magnet|a supercomputer run",
}

# Patterns that all topics share: only the slots {role} and {matter} tell them apart, which come from ROLES and MATTERS.
FRAMES = """
{role} {surname} takes the lead in debate on {matter}
{role} {person} steps down after row over {matter}
Court fight looms for {role} {surname} over {matter}
Doubts grow in {place} over {matter}
"I was wrong about {matter}", admits {role} {surname}
{place} sets new goal for {matter}, says {role}
"""

ROLES = {
    "world": "minister|envoy|mayor|senator|general|rebel leader|governor|president|diplomat|lawmaker",
    "sport": "coach|captain|referee|striker|sprinter|goalkeeper|umpire|cyclist|golfer|manager",
    "business": "banker|founder|broker|retailer|union boss|economist|trader|investor|brewer|auditor",
    "science": "astronomer|biologist|geologist|chemist|physicist|surgeon|botanist|engineer|zoologist|geneticist",
}

MATTERS = {
    "world": "the border pact|the senate vote|the refugee camp|the amnesty law|the peace plan|the war crimes trial|the island|the ceasefire"
    "|the hostage crisis|press freedom|the arms embargo|the snap election|the march on the palace|the two-party coalition",
    "sport": "the title race|the relay squad|the derby|the transfer window|the penalty rule|the downhill course|the cup draw"
    "|the women's league|the doping case|the final|the tour|the home side|the visitors|the goal-line camera",
    "business": "the merger|the rail franchise|the bond sale|the pension fund|the price cap|the steel tariff|the bonus pool"
    "|the wage deal|the loan scheme|the factory|the supermarket|the tax return|the online shop|the launch of the van",
    "science": "the vaccine trial|the Moon mission|the gene bank|the ice core|the fossil|the cancer drug|the comet|the whale count"
    "|the climate model|the new telescope|the sleep study|the black hole|the brain scan|the quantum chip",
}

PATTERNS = {
    "world": """
{place} and {place} agree a truce after {n} days of talks
Voters in {place} go to the polls in a tight race
{place} leader {surname} steps down after {trouble}
{place} court jails ex-minister {surname} for {n} years
Border between {place} and {place} opens for first time in {n} years
Rising river cuts off {n} villages near {place}
Rescue teams search {place} for survivors of {disaster}
{few} ministers quit as {place} coalition splits
General strike over {grievance} brings {place} to a halt
Peace envoy {surname} lands in {place} for new round of talks
Police in {place} hold {n} people after Friday night's clashes
Opposition takes early lead in {place} run-off
{big} people flee {place} as fighting nears the city
"We will not be moved", says {place} mayor {surname}
Talks on {accord} collapse in {place}, again
Aid trucks reach {place} after {n} weeks under siege
{surname} wins {place} vote, but rival {surname} refuses to concede
Army sets up field hospital in {place} after {disaster}
Ferry with {crowd} aboard runs aground off {place}
Prime minister {surname} cuts short {place} trip after {disaster}
Record turnout in {place} as {surname} seeks a {nth} term
Goal of peace in {place} 'still in reach', says {surname}
President {surname} fires army chief, tightens grip on {place}
Air strike on {place} kills {n}, both sides trade blame
{surname} to lead talks between {place} and {place}
""",
    "sport": """
{team} beat {team} {score} to reach {stage}
Late {surname} strike rescues a point for {team}
{person} cuts {n} seconds off {place} record
{surname} signs {few}-year deal with {team}
{surname} out for {n} weeks with {injury}
{person} takes the lead in {event} after stage {few}
Rain holds up {surname} on centre court in {place}
{team} cut gap at the top to {few} points
{surname} double sends {team} into {stage}
"We were lucky", says {team} captain {surname}
{team} run riot in {rout} win over {team}
{surname} to meet {surname} in {place} semi-final
{place} wins vote to host {event}
{surname} goal ends {n}-match run of {team}
{athlete} {person} takes silver in {place}
{athlete} {surname} banned for {few} years, appeals to court
{team} held to a {draw} home draw by {team}
{surname} fined £{m},000 after tunnel row in {place}
{team} reject £{m}m bid for {position} {surname}
{team} fans march against ticket prices
{surname} leads the field by {few} shots in {place}
{team} in the market for a new {position}
{team} v {team}: who will reach {stage}?
{position} {surname} fires {team} to {nth} win in a row
{team} launch appeal over {surname} red card
""",
    "business": """
{firm} shares {jumps} after {surname} quits as chief
{firm} to cut {big} jobs in {place}
{firm} agrees {money} takeover of {firm}
{place} central bank holds rates at {pct}%
Strike at {firm} enters {nth} week
{firm} profits {falls} on {cost}
Court orders {firm} to pay {money} to rival {firm}
{place} market opens {pct}% lower as {trade} slides
{trade} price hits {n}-year high on fears over {place}
"We have room to grow", says {firm} chief {surname}
{firm} recalls {big} {goods} over {fault}
Inflation in {place} slows to {pct}% as {trade} gets cheaper
{firm} fined {money} over {fault} in {goods}
{firm} wins {money} deal to run {place} trams
{firm} staff vote to accept {pct}% pay offer
{firm} leads race for {asset}
{firm} misses sales goal, blames {cost}
Jobless rate in {place} rises to {pct}%
{firm} and {firm} end merger talks
{place} budget: tax cut for small firms, higher duty on {trade}
{firm} launches cut-price {goods} in {place}
{firm} to close {n} shops as {cost} bites
{surname} bids {money} for {asset}
{firm} runs short of {trade} as {place} strike drags on
Regulator opens field trials of shop-free banking with {firm}
""",
    "science": """
Team finds water under the ice of {body}
Study links {cause} to {habit}
{cause} may affect {habit}, study of {big} adults finds
Probe lands on {body} after {n}-year trip
Rocket launch from {place} called off over {snag}
Bones of {relic} found near {place}
Team maps {place} {thing} with {gear}
Magnetic field of {body} puzzles astronomers
{animal} can count to {few}, tests in {place} suggest
{place} {living} shrinks to record low
{place} lab runs fusion test for {n} minutes
New species of {swimmer} seen off {place}
"It should not exist", says {place} astronomer {surname}
With {gear}, team shows how {animal} find north
Mission to {body} set for {season} launch
{surname} wins prize for work on {habit}
Gene tied to {habit} found in {animal}
Lightning strike rate over {place} doubles in {n} years
{place} {thing} holds record of {big}-year drought
Dust from {body} may hold clues to early life
{animal} return to {place} after {n} years
Team counts {animal} near {place} with {gear}
Early humans reached {place} {big} years earlier than thought
Field trial of drought-proof {crop} begins in {place}
Warm seas push {swimmer} to colder water, {surname} warns
""",
}

ONE_OFFS = {
    "world": """
Island nation moves its capital, one filing cabinet at a time
A village of 90 elects its first mayor, a baker
Old king hands the crown to his reluctant daughter
Both sides claim victory in a vote nobody expected
The bridge that two countries cannot agree to paint
Anthem dropped mid-ceremony, and a president walks out
Rebels lay down arms in a football field
Women drive in convoy to mark end of ban
Night trains carry families away from the front line
"Not in our name": students occupy the ministry
Blackout on eve of poll raises fears of fraud
Landmine teams clear last field on the frontier
Judges strike over threats to the high court
Nomads win the right to cross, without passports
Coup leaders promise elections 'when the time is right'
Smuggled letters reveal life in a closed city
Hunger spreads as convoys wait at the checkpoint
Census counts 2m citizens who were never on record
Summit ends with a handshake, but no text
Sandbags, prayers and pumps: a delta braces for the flood
A general's widow runs for office
State of emergency declared as volcano empties three towns
Grandmothers lead protest against conscription
Foreign minister resigns over a leaked map
Drought drives herders and farmers to the same well
Spy swap takes place on an icy bridge at dawn
Ceasefire holds for a second night
Mayor's hunger strike enters its fourth week
Thousands stranded as airport falls to militia
An amnesty opens the gates of the island prison
Tribunal hears first witness in war crimes case
Parliament brawl breaks out over the price of rice
Hero's welcome for a rebel poet's return
Police fire tear gas at the goal of the march: the palace
Migrants' boat drifts nine days without fuel
Church bells ring as the siege is lifted
Queen's speech cut to four minutes amid boos
Ambassador expelled after dinner-table insult
Referendum on clocks splits a nation by an hour
Nation mourns as its last independence leader dies
""",
    "sport": """
Own goal in the 94th minute, and a city weeps
A goalless draw that nobody will want to remember
Marathon leader takes wrong turn, still wins
The coach who reads poems at half-time
Rookie's perfect ten silences the arena
Twins to face each other across the net
Home side crumble as spinners run through order
Relay team drop the baton, and the title
Photo finish needed to split three in the 100m
Fans' favourite leaves by the back door
Underdogs bring the cup home by ferry
Pole position, puncture, podium: a wild Sunday
Rain, mud and glory on the longest climb
Knockout in round two stuns champion
Substitute scores with first touch, then is sent off
At 41, the oldest debutant in the league
Referee's whistle fails, and play runs on
Hat-trick hero was selling shoes last year
Club without a ground wins promotion
"I never felt the pain," says the swimmer with one fin
Selectors cut three from the squad before the tour
World title decided by a single hundredth
Bowler's record spell lights up a dull afternoon
Strike partnership clicks as visitors take the lead
Chess prodigy, 11, holds grandmaster to a draw
Jockey thrown at the last fence walks away
Crew rescued rivals, lost the regatta, won the crowd
Goalkeeper heads equaliser with the final play
Transfer window shuts with a £40m gamble
Underfoot ice forces downhill to a lower start
Boxers exchange jibes, then hugs, at weigh-in
Veteran pair dance to gold on borrowed skates
Darts final goes to a deciding leg, at 1am
Injury-hit squad calls up the kit man's son
Doubles court flooded; match moved to a car park
Golfers lost in fog: round abandoned after six holes
Manager's future in doubt after derby defeat
The long run back: a sprinter's year on crutches
Unbeaten in 40, then beaten by the bottom side
Team bus stuck, kick-off delayed by an hour
""",
    "business": """
The start-up that sells silence by the hour
Cheap loans dry up as lenders turn cautious
Family brewer rejects third offer, and pours a round
Pension funds push for seat on the board
Why your morning coffee now costs £5
Supermarkets lock horns in a price war over milk
Currency slides to a record low against the dollar
Empty offices leave landlords short of cash
Auditors quit, shares suspended, founder 'on holiday'
Rent or buy? Young families do the sums
Carmakers brace for tariffs on imported steel
Dockers' strike leaves toys stuck at sea
Bank's app outage locks out 2m customers
Investors take fright as bond yields leap
Four-day week pays off, say bosses who tried it
Chip maker warns of a long, dry year
Airline's cheapest seats come with no seat back
Wage growth outpaces inflation for first time since 2019
Farmers' co-op buys the dairy that nearly closed it
Hotel chain checks out of the city market
Tax office goes after sellers of second-hand clothes
Fashion label cuts ties with supplier over unpaid wages
'Shrinkflation' hits biscuits, crisps and soap
Debt-laden water company asks for higher bills
Cash is king again, shopkeepers report
Shareholders revolt over chief's €9m bonus
Gold at a record as savers seek shelter
Oil glut sends tankers in circles
Last high-street typewriter shop finds new buyers online
Order book full, workers wanted: a shipyard comes back
Private equity circles a struggling cinema chain
Bakers feel the heat as flour price doubles
Goal missed: sales of electric vans stall
Sponsor pulls out of football league, citing costs
Factory output grows at slowest pace in a decade
Credit card late fees face a cap
Launch of the year? Not for those who bought at the top
Rail franchise handed back after losses mount
Rivals join forces to build one giant warehouse
Economists split on whether a recession has begun
""",
    "science": """
A clock so exact that it feels the height of a stair
Mice that never grow old, almost
Ancient glue reveals a forgotten craft
What the oldest tree remembers of the sun
Deep-sea microphones pick up an unknown song
Scientists grow a beating heart cell by cell
Forgotten jar in museum holds a lost beetle
How a fungus turns flies into puppets
Black hole caught snacking on a star
Mud cores keep a record of every storm since 1600
Robot fish joins the shoal, then takes the lead
Frozen seeds sprout after 30,000 years
A particle goes missing, and theorists rejoice
Wolves' return changes the course of a stream
Blood test could spot dementia a decade early
Left-handed snails find love at last
Moss survives nine months outside the space station
Pterosaur's tail kept it steady, scans show
Ozone hole on course to close by 2066
Computer proves a puzzle that stumped experts for 80 years
Meteor lights up sky, lands in a hen house
Bacteria run a battery on sugar and light
Skull shows that Neanderthals cared for the deaf
Quantum link spans 300 km of ordinary fibre
Coffee grounds make stronger concrete, engineers say
Bird flu strain jumps to seals
Antarctic lake drains away in three days
Tiny tremors may warn of the big one
Dogs 'read' faces better than wolves do
First image of a planet being born
Placebo works even if patients know, trial shows
Spiders launch themselves on electric fields
A goal for chemistry: fertiliser without the heat
Parrots call each other on video, and seem to like it
Salt caverns could store hydrogen for a winter
Peer review by lottery? One journal tries it
Stone tools show trade routes 50,000 years old
Satellite swarm spoils the view for astronomers
CRISPR cuts cholesterol in a first small trial
Sunlight alone can split water, at a price
""",
}


def lines_of(text: str) -> list[str]:
    """Return the lines of a block above."""
    return text.strip().split("\n")


def fill(pattern: str, label: str, rng: np.random.Generator) -> str:
    """Return the pattern with every slot filled in, from the left; no name stands twice in a headline."""
    slots = SLOTS | {"role": ROLES[label], "matter": MATTERS[label]}
    text = pattern
    while (slot := re.search(r"\{(\w+)\}", text)) is not None:
        entries = [entry for entry in slots[slot.group(1)].split("|") if "{" in entry or entry not in text]
        text = text[: slot.start()] + entries[rng.integers(len(entries))] + text[slot.end() :]
    return text[0].upper() + text[1:]


def headlines_of(label: str, rng: np.random.Generator) -> list[str]:
    """Return PER_LABEL different headlines: every one-off, and the patterns in turn until there are enough."""
    texts = lines_of(ONE_OFFS[label])
    patterns = lines_of(PATTERNS[label]) + lines_of(FRAMES)
    for _ in range(MAX_PER_PATTERN):
        for index in rng.permutation(len(patterns)):
            text = fill(patterns[index], label, rng)
            if len(texts) < PER_LABEL and text not in texts:
                texts.append(text)
    if len(texts) != PER_LABEL or len(set(texts)) != PER_LABEL:
        raise ValueError(f"{label}: {len(set(texts))} different headlines, wanted are {PER_LABEL}. Add patterns")
    return texts


def split_names(number: int) -> list[str]:
    """Return the splits of a label's headlines, one-offs first: both kinds are split 70 : 15 : 15, as nearly as it goes."""
    one_offs = ["train"] * 28 + ["val"] * 6 + ["test"] * 6
    num_val = 32 - number % 2  # of 63: val and test have 150 each over four labels
    return one_offs + ["train"] * 147 + ["val"] * num_val + ["test"] * (63 - num_val)


def main() -> None:
    """Write the headlines, shuffled."""
    rng = np.random.default_rng(SEED)
    rows: list[tuple[str, str, str]] = []
    for number, label in enumerate(PATTERNS):
        texts = headlines_of(label, rng)
        num_one_offs = len(lines_of(ONE_OFFS[label]))
        order = [*rng.permutation(num_one_offs), *rng.permutation(np.arange(num_one_offs, len(texts)))]
        rows += [(texts[index], label, split) for index, split in zip(order, split_names(number), strict=True)]
    if not all(NUM_WORDS[0] <= len(text.split()) <= NUM_WORDS[1] for text, _, _ in rows):
        raise ValueError(f"a headline has fewer or more words than {NUM_WORDS[0]} to {NUM_WORDS[1]}")
    if len({text.casefold() for text, _, _ in rows}) != len(rows):
        raise ValueError("a headline stands under two labels")
    with (FOLDER / "headlines.csv").open("w", newline="", encoding="utf-8") as file:
        header = ("text", "label", "split")
        csv.writer(file, lineterminator="\n").writerows([header, *(rows[index] for index in rng.permutation(len(rows)))])
    print(f"wrote {len(rows)} headlines to {FOLDER / 'headlines.csv'}")


if __name__ == "__main__":
    main()
