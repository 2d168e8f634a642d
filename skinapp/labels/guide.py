"""Every diagnosis of every label set in plain words, with sources."""

from collections.abc import Sequence
from dataclasses import dataclass

from skinapp.errors import DataError


@dataclass(frozen=True)
class Entry:
    """A diagnosis. `codes` are its classes in the label sets; `sources` are names in ADDRESSES; `pictures` are lesions
    in the ISIC archive, each as the ids of a dermoscopy image and a close-up; the other fields are sentences for anyone
    to read."""

    name: str
    codes: tuple[str, ...]
    what: str
    dermatoscope: str
    photo: str
    causes: str
    signs: str
    advice: str
    doctor: str
    sources: tuple[str, ...]
    pictures: tuple[tuple[str, str], ...] = ()


SECTIONS = {
    "doctor": "When to see a doctor",
    "what": "What it is",
    "signs": "What people notice",
    "dermatoscope": "Through a dermatoscope",
    "photo": "In a phone photo",
    "causes": "Causes",
    "advice": "What is usually advised",
}
"""The fields of an entry in reading order, with their headings."""

ADDRESSES = {
    "American Academy of Dermatology: Moles": "https://www.aad.org/public/diseases/a-z/moles-overview",
    "American Academy of Dermatology: Seborrheic keratoses": (
        "https://www.aad.org/public/diseases/a-z/seborrheic-keratoses-overview"
    ),
    "Cancer Research UK: Melanoma skin cancer": "https://www.cancerresearchuk.org/about-cancer/melanoma",
    "Cancer Research UK: Skin cancer": "https://www.cancerresearchuk.org/about-cancer/skin-cancer",
    "DermNet: Actinic keratosis": "https://dermnetnz.org/topics/actinic-keratosis",
    "DermNet: Angiokeratoma": "https://dermnetnz.org/topics/angiokeratoma",
    "DermNet: Basal cell carcinoma": "https://dermnetnz.org/topics/basal-cell-carcinoma",
    "DermNet: Benign skin lesions": "https://dermnetnz.org/topics/benign-skin-lesions",
    "DermNet: Cherry angioma": "https://dermnetnz.org/topics/cherry-angioma",
    "DermNet: Cutaneous squamous cell carcinoma": "https://dermnetnz.org/topics/cutaneous-squamous-cell-carcinoma",
    "DermNet: Dermatitis": "https://dermnetnz.org/topics/dermatitis",
    "DermNet: Dermatofibroma": "https://dermnetnz.org/topics/dermatofibroma",
    "DermNet: Intraepidermal squamous cell carcinoma": "https://dermnetnz.org/topics/intraepidermal-squamous-cell-carcinoma",
    "DermNet: Juvenile xanthogranuloma": "https://dermnetnz.org/topics/juvenile-xanthogranuloma",
    "DermNet: Lichen planus-like keratosis": "https://dermnetnz.org/topics/lichen-planus-like-keratosis",
    "DermNet: Melanocytic naevus": "https://dermnetnz.org/topics/melanocytic-naevus",
    "DermNet: Melanoma": "https://dermnetnz.org/topics/melanoma",
    "DermNet: Molluscum contagiosum": "https://dermnetnz.org/topics/molluscum-contagiosum",
    "DermNet: Pyogenic granuloma": "https://dermnetnz.org/topics/pyogenic-granuloma",
    "DermNet: Seborrhoeic keratosis": "https://dermnetnz.org/topics/seborrhoeic-keratosis",
    "DermNet: Skin cancer": "https://dermnetnz.org/topics/skin-cancer",
    "DermNet: Solar lentigo": "https://dermnetnz.org/topics/solar-lentigo",
    "NHS: Actinic keratoses": "https://www.nhs.uk/conditions/actinic-keratoses/",
    "NHS: Melanoma skin cancer": "https://www.nhs.uk/conditions/melanoma-skin-cancer/",
    "NHS: Moles": "https://www.nhs.uk/conditions/moles/",
    "NHS: Non-melanoma skin cancer": "https://www.nhs.uk/conditions/non-melanoma-skin-cancer/",
    "NHS: Psoriasis": "https://www.nhs.uk/conditions/psoriasis/",
}
"""Where each source is."""

ENTRIES = (
    Entry(
        name="Melanoma",
        codes=("mel", "MEL"),
        what=(
            "A cancer of the cells that make the skin's pigment. It can grow within a mole or, more often, on skin "
            "that looked normal. At first it lies flat in the outer skin and is nearly always cured by cutting it out; "
            "once deeper, it can spread to lymph nodes and organs."
        ),
        dermatoscope=(
            "Several colours and structures in no clear order: an uneven network, dots and globules of different "
            "sizes, streaks at the edge, a blue-white veil, or white and grey areas where parts have regressed. Some "
            "melanomas have little pigment, and only odd blood vessels give them away."
        ),
        photo=(
            "Often a spot with two halves that do not match, a ragged edge and more than one shade of brown, black, "
            "red or blue. A photo shows only the outline and the colours, and early melanomas can look like moles."
        ),
        causes=(
            "Ultraviolet light from the sun or sunbeds, especially with sunburn or fair skin; many moles or unusual "
            "ones; melanoma in the family or earlier in life. Melanomas on the palms, on the soles or under the nails "
            "are not caused by the sun, and are the kind most often seen in dark skin."
        ),
        signs=(
            "A new spot, or one that changes in size, shape or colour over weeks to months, looks unlike the others, "
            "or itches, bleeds or crusts. A pink or skin-coloured lump that grows fast can also be melanoma."
        ),
        advice=(
            "It is cut out completely with a small margin and examined under the microscope; its depth decides "
            "what follows: a wider cut, a check of the nearest lymph node, and medicines that help the immune system "
            "or act on mutations."
        ),
        doctor=(
            "Soon: within two weeks at the latest, for any spot that is new and different, changes, bleeds or grows. "
            "No doctor minds a false alarm."
        ),
        sources=("DermNet: Melanoma", "NHS: Melanoma skin cancer", "Cancer Research UK: Melanoma skin cancer"),
        pictures=(("ISIC_8437510", "ISIC_9865547"), ("ISIC_1923354", "ISIC_4597624")),
    ),
    Entry(
        name="Melanocytic nevus",
        codes=("nv", "NEV", "NV"),
        what=(
            "An ordinary mole: a cluster of pigment cells in the skin. Most people have a few dozen. They "
            "are harmless, and very few ever become melanoma."
        ),
        dermatoscope=(
            "Orderly: an even network, evenly spread dots and globules, or one plain colour, fading softly towards the "
            "edge, and similar on both sides. One person's moles tend to look alike."
        ),
        photo=(
            "A round or oval spot or soft bump in one or two shades of brown, or skin-coloured, with an edge that is "
            "easy to follow."
        ),
        causes=(
            "Partly inherited, partly due to the sun in childhood. New ones appear until about the age of forty; in "
            "pregnancy and puberty they may darken."
        ),
        signs="Usually nothing. It stays the same for years, or slowly becomes paler and more raised with age.",
        advice=(
            "Nothing, unless it rubs or bothers you. If you have many moles, or unusual ones, have them checked and "
            "take photos to compare."
        ),
        doctor=(
            "If one changes, stands out from the others, itches, bleeds or hurts, or if a new one appears after the "
            "age of forty."
        ),
        sources=("DermNet: Melanocytic naevus", "NHS: Moles", "American Academy of Dermatology: Moles"),
        pictures=(("ISIC_0390452", "ISIC_2359396"), ("ISIC_8344146", "ISIC_8556689")),
    ),
    Entry(
        name="Basal cell carcinoma",
        codes=("bcc", "BCC"),
        what=(
            "The most common skin cancer. It grows slowly, over months and years, and hardly ever spreads, but if "
            "left alone it destroys the tissue around it, which matters on the nose, eyelids and ears."
        ),
        dermatoscope=(
            "Clearly visible blood vessels that branch like a tree, blue-grey globules or leaf-like shapes, small "
            "sores, and shiny white lines. The pigment network of moles is missing."
        ),
        photo=(
            "A pearly, skin-coloured or pink bump with fine red vessels, sometimes with a sore in the middle; or a "
            "flat, slightly scaly red patch. Some are pigmented and look like a mole."
        ),
        causes=(
            "Ultraviolet light over a lifetime, especially in fair skin; also radiation treatment, a weak immune "
            "system and, rarely, inherited conditions."
        ),
        signs="A spot or sore that does not heal for weeks, bleeds when the face is washed, crusts and comes back.",
        advice=(
            "It is usually cut out, on the face often in stages, with each layer checked under the microscope. Flat "
            "ones can be treated with creams, light or freezing, and some with radiation. New ones are common, so the "
            "skin is checked regularly."
        ),
        doctor=(
            "Within a few weeks for a sore or bump that has not healed after a month, or sooner if it is near the eyes."
        ),
        sources=(
            "DermNet: Basal cell carcinoma",
            "NHS: Non-melanoma skin cancer",
        ),
        pictures=(("ISIC_9896110", "ISIC_2772400"), ("ISIC_1810342", "ISIC_4194365")),
    ),
    Entry(
        name="Actinic keratosis or Bowen's disease",
        codes=("akiec", "AKIEC"),
        what=(
            "Two stages of the same disease, counted together in HAM10000 and MILK10k. Actinic keratoses are rough "
            "patches of sun-damaged cells; Bowen's disease is a squamous cell cancer that has not left the outermost "
            "layer of the skin."
        ),
        dermatoscope=(
            "Actinic keratosis: a red network around pale hair follicles, like a strawberry, with scale. Bowen's "
            "disease: tiny coiled vessels in groups, with scale. Pigmented ones show dots and lines in grey and brown."
        ),
        photo=(
            "Rough, scaly, pink to brown patches on the face, scalp, ears or backs of the hands; often easier to feel "
            "than to see. Bowen's disease is one slowly growing red patch with a sharp edge, often on the lower leg."
        ),
        causes=(
            "Ultraviolet light over decades, especially in fair skin; a weak immune system; for some cases of Bowen's "
            "disease, papillomaviruses or arsenic."
        ),
        signs=(
            "A patch that feels like sandpaper, catches on clothes, stings or itches, and comes back after it is "
            "scratched off."
        ),
        advice=(
            "Sun protection, and removal of patches by freezing, creams, light or scraping. Most actinic keratoses "
            "never become cancer, but nobody can tell which will."
        ),
        doctor=(
            "For any scaly patch that lasts more than a few weeks; soon if it thickens, hurts, bleeds or grows into a "
            "lump."
        ),
        sources=(
            "DermNet: Actinic keratosis",
            "DermNet: Intraepidermal squamous cell carcinoma",
            "NHS: Actinic keratoses",
        ),
        pictures=(("ISIC_7118545", "ISIC_7221017"), ("ISIC_1999632", "ISIC_8124386")),
    ),
    Entry(
        name="Actinic keratosis",
        codes=("ACK",),
        what=(
            "A rough patch of skin damaged by the sun. It is a pre-cancer: a few become squamous cell carcinoma over "
            "the years, but many stay as they are or disappear on their own."
        ),
        dermatoscope=(
            "A red network around pale hair follicles, like a strawberry, with white or yellow scale. Pigmented ones "
            "show grey dots and lines around the hair follicles."
        ),
        photo=(
            "A dry, scaly, pink, red or brown patch a few millimetres wide on the face, scalp, ears, lips, forearms or "
            "hands, often one of many. Scale shows well in light from the side and poorly with flash."
        ),
        causes="Ultraviolet light over decades: outdoor work, fair skin, age. More common with a weak immune system.",
        signs="A patch that feels like sandpaper, stings or itches a little, and comes back after it is scratched off.",
        advice=(
            "Sun protection, moisturiser, and removal of single patches by freezing or of larger areas with creams or "
            "light."
        ),
        doctor=(
            "For any scaly patch that lasts more than a few weeks; soon if it thickens, hurts, bleeds or grows into a "
            "lump."
        ),
        sources=(
            "DermNet: Actinic keratosis",
            "NHS: Actinic keratoses",
        ),
        pictures=(("ISIC_7118545", "ISIC_7221017"), ("ISIC_2987179", "ISIC_1622952")),
    ),
    Entry(
        name="Squamous cell carcinoma",
        codes=("SCC", "SCCKA"),
        what=(
            "A cancer of the cells that form the outer skin. Most are cured by cutting them out; a few spread, "
            "especially from the ears and lips, if they are large, or if the immune system is weak. PAD-UFES-20 counts "
            "Bowen's disease, its earliest stage, here too; MILK10k counts keratoacanthoma, which grows fast and looks "
            "much the same."
        ),
        dermatoscope=(
            "White circles and structureless white or yellow areas of keratin, with looped or hairpin vessels, and "
            "blood spots in crusts."
        ),
        photo=(
            "A firm, scaly or crusted lump, sometimes with a horn or an open sore in the middle, on skin with other "
            "sun damage."
        ),
        causes=(
            "Ultraviolet light over decades; a weak immune system, for example after a transplant; old scars and "
            "wounds; smoking, for those on the lips."
        ),
        signs="A lump or sore that grows over weeks to months, is tender, bleeds easily and does not heal.",
        advice=(
            "It is cut out and examined under the microscope, sometimes followed by radiation. Nearby lymph nodes are "
            "examined, and the skin is checked regularly for some years."
        ),
        doctor=(
            "Within two weeks for a growing lump or a sore that does not heal, or sooner if it is on an ear or lip, or "
            "if your immune system is weak."
        ),
        sources=(
            "DermNet: Cutaneous squamous cell carcinoma",
            "NHS: Non-melanoma skin cancer",
            "Cancer Research UK: Skin cancer",
        ),
        pictures=(("ISIC_8238316", "ISIC_2827872"), ("ISIC_9075808", "ISIC_9222858")),
    ),
    Entry(
        name="Benign keratosis",
        codes=("bkl", "BKL"),
        what=(
            "Three harmless growths of the outer skin that HAM10000 and MILK10k count together: seborrhoeic "
            "keratoses, sun spots (solar lentigines), and lichen-planus-like keratoses, which are sun spots that the "
            "body is clearing away."
        ),
        dermatoscope=(
            "Small white dots and dark pores, ridges like those of a brain, moth-eaten edges, lines like "
            "fingerprints. Lichen-planus-like ones show grey-blue dots, and can be hard to tell from a fading "
            "melanoma."
        ),
        photo=(
            "A flat brown spot, or a raised, waxy or warty patch that looks stuck on, from skin-coloured to nearly "
            "black. The darkest are often mistaken for melanoma."
        ),
        causes="Age and, for sun spots, the sun. They run in families.",
        signs="They appear one after another from middle age, are rough, and sometimes itch or catch on clothes.",
        advice="Nothing. Those that itch or are unsightly can be frozen or scraped off.",
        doctor=(
            "If one is new and very dark, grows fast or bleeds without being scratched, or if many appear within weeks."
        ),
        sources=("DermNet: Seborrhoeic keratosis", "DermNet: Solar lentigo", "DermNet: Lichen planus-like keratosis"),
        pictures=(("ISIC_2716264", "ISIC_5443014"), ("ISIC_4985739", "ISIC_1749634")),
    ),
    Entry(
        name="Seborrhoeic keratosis",
        codes=("SEK",),
        what="A harmless, waxy or warty growth of the outer skin. Almost everybody gets some with age.",
        dermatoscope=(
            "Small white dots and dark pores, ridges and furrows like those of a brain, hairpin-shaped vessels, and "
            "an edge that ends sharply."
        ),
        photo=(
            "A raised, dull or greasy patch that looks stuck on, light brown to nearly black. In a photo the darkest "
            "ones are often mistaken for melanoma."
        ),
        causes="Age, and they run in families. The sun may play a part. They are not contagious.",
        signs="They grow slowly, feel rough, and can itch, crumble or catch on clothes.",
        advice="Nothing. Those that itch or are unsightly can be frozen or scraped off.",
        doctor=(
            "If one is new and very dark, grows fast or bleeds without being scratched, or if many appear within weeks."
        ),
        sources=("DermNet: Seborrhoeic keratosis", "American Academy of Dermatology: Seborrheic keratoses"),
        pictures=(("ISIC_2716264", "ISIC_5443014"), ("ISIC_8403829", "ISIC_1118925")),
    ),
    Entry(
        name="Dermatofibroma",
        codes=("df", "DF"),
        what="A small, firm, harmless lump of scar-like tissue in the skin, often on the legs.",
        dermatoscope="A white, scar-like centre with a fine, pale brown network around it.",
        photo=(
            "A pink to brown, firm bump up to a centimetre wide. When squeezed from both sides it dimples, which a "
            "photo cannot show."
        ),
        causes="Not well understood. Some appear after an insect bite or a small wound, more often in women.",
        signs=(
            "A hard, button-like spot that stays the same for years; it may itch, be tender, or be nicked when shaving."
        ),
        advice="Nothing. Cutting it out leaves a scar that may bother you more than the lump.",
        doctor="If it grows, is larger than about two centimetres, bleeds or changes colour.",
        sources=("DermNet: Dermatofibroma",),
        pictures=(("ISIC_6043617", "ISIC_0428450"), ("ISIC_0411397", "ISIC_2463268")),
    ),
    Entry(
        name="Vascular lesion",
        codes=("vasc", "VASC"),
        what=(
            "Small growths or leaks of blood vessels: cherry angiomas, angiokeratomas, pyogenic granulomas and small "
            "bleeds in the skin. They are harmless."
        ),
        dermatoscope=(
            "Red, purple or blue-black round pools with sharp edges, without the brown network and dots of pigment. A "
            "bleed shows one even red-brown to black area."
        ),
        photo=(
            "A bright red, purple or nearly black dot or bump. Very dark ones, and bleeds under the nails or on the "
            "soles, can look like melanoma."
        ),
        causes=(
            "Age for cherry angiomas; small injuries and pregnancy for pyogenic granulomas; a knock or friction for "
            "bleeds."
        ),
        signs="Usually nothing. Pyogenic granulomas grow within weeks and bleed easily; bleeds fade or grow out.",
        advice=(
            "Nothing, or removal by laser, freezing or scraping. A bleeding lump is removed and examined under the "
            "microscope."
        ),
        doctor="If it bleeds again and again, grows within weeks, or is dark and does not fade within a month or two.",
        sources=("DermNet: Cherry angioma", "DermNet: Angiokeratoma", "DermNet: Pyogenic granuloma"),
        pictures=(("ISIC_5409072", "ISIC_6550385"), ("ISIC_5099169", "ISIC_2454008")),
    ),
    Entry(
        name="Inflammation or infection",
        codes=("INF",),
        what=(
            "A patch or bump that is not a growth: skin that is inflamed, as in eczema or psoriasis, or infected, as "
            "with warts or molluscum. MILK10k includes those that were suspected of being cancer."
        ),
        dermatoscope=(
            "Dotted or blurred vessels and scale, mostly without pigment; warts show small dark dots, molluscum a "
            "white or yellow centre."
        ),
        photo="A red or scaly patch, a crust or a small bump, often one of several, with a blurred edge.",
        causes="Irritation, allergy or a tendency to inflammation; viruses, bacteria or fungi for infections.",
        signs="It itches, burns or is tender, comes and goes, or appears in several places.",
        advice="It depends on the cause: creams, time, or treatment of the infection.",
        doctor="If a single patch does not heal within a month, with or without treatment, or grows, hurts or bleeds.",
        sources=("DermNet: Dermatitis", "DermNet: Molluscum contagiosum", "NHS: Psoriasis"),
        pictures=(("ISIC_6365088", "ISIC_2281577"), ("ISIC_9641859", "ISIC_3668509")),
    ),
    Entry(
        name="Other benign growth",
        codes=("BEN_OTH",),
        what=(
            "Harmless growths other than the common ones, such as tumours of hair follicles, dark spots on the lips "
            "and genitals, or juvenile xanthogranuloma; also two harmless growths in one place."
        ),
        dermatoscope="It depends on the kind; many have no specific signs and can only be recognised under a "
        "microscope.",
        photo="A bump or spot of almost any colour.",
        causes="It depends on the kind, and for most it is unknown.",
        signs="Usually nothing: it stays the same, or grows very slowly.",
        advice="Nothing, once the diagnosis is certain; that often takes a biopsy.",
        doctor="If it is new, grows, changes, bleeds or hurts.",
        sources=("DermNet: Benign skin lesions", "DermNet: Juvenile xanthogranuloma"),
        pictures=(("ISIC_0644224", "ISIC_6404972"), ("ISIC_2515838", "ISIC_7319315")),
    ),
    Entry(
        name="Other cancer",
        codes=("MAL_OTH",),
        what=(
            "Skin cancers other than the common ones. In the images of MILK10k counted here, these are lesions "
            "in which a cancer and another growth lie in the same place."
        ),
        dermatoscope="Signs of two different growths side by side, or no well-known signs.",
        photo="A spot or lump with parts that look different from each other.",
        causes="Mostly ultraviolet light over decades; two growths can meet by chance on sun-damaged skin.",
        signs="Change over weeks to months, bleeding, or a sore that does not heal.",
        advice="It is cut out and examined under the microscope; what follows depends on the cancer.",
        doctor="Soon: within two weeks at the latest.",
        sources=("DermNet: Skin cancer", "Cancer Research UK: Skin cancer"),
    ),
    Entry(
        name="Benign",
        codes=("benign",),
        what="A harmless lesion of any kind. In the malignant/benign set these are mostly ordinary moles.",
        dermatoscope=("Usually orderly: few colours, similar on both sides. Each diagnosis has its own signs."),
        photo="Anything from a flat brown spot to a warty bump. No photo can prove that a lesion is harmless.",
        causes="They depend on the diagnosis; see melanocytic nevus and benign keratosis.",
        signs="Usually nothing, and no change over the years.",
        advice="Nothing, as long as the diagnosis is certain.",
        doctor="If it changes, stands out, bleeds or worries you, whatever a model calls it.",
        sources=("NHS: Moles", "DermNet: Benign skin lesions"),
        pictures=(("ISIC_0390452", "ISIC_2359396"), ("ISIC_2716264", "ISIC_5443014")),
    ),
    Entry(
        name="Malignant",
        codes=("malignant",),
        what=(
            "A skin cancer or a pre-cancer of any kind. In the malignant/benign set these are melanomas, basal cell "
            "carcinomas and others that its publisher does not name."
        ),
        dermatoscope=(
            "Often disorderly: several colours, structures that do not repeat, odd vessels. Each cancer has its own "
            "signs."
        ),
        photo="A spot that is uneven, changes, or does not heal. Early cancers can look harmless.",
        causes="Mostly ultraviolet light and age, especially in fair skin; see melanoma and basal cell carcinoma.",
        signs="Change over weeks to months, bleeding, or a sore that does not heal.",
        advice=(
            "A doctor examines it with a dermatoscope and, if in doubt, removes some or all of it to examine it under "
            "the microscope."
        ),
        doctor="Soon: within two weeks at the latest.",
        sources=("NHS: Melanoma skin cancer", "NHS: Non-melanoma skin cancer", "Cancer Research UK: Skin cancer"),
        pictures=(("ISIC_8437510", "ISIC_9865547"), ("ISIC_9896110", "ISIC_2772400")),
    ),
)


def entry(code: str) -> Entry:
    """The guide's entry for a class code. DataError if there is none."""
    for each in ENTRIES:
        if code in each.codes:
            return each
    raise DataError(f"The guide has no entry for the class '{code}'.")


def links(sources: Sequence[str]) -> str:
    """The sources as links in Markdown, each named by its publisher and title."""
    return "; ".join(f"[{source}]({ADDRESSES[source]})" for source in sources)
