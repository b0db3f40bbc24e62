"""Countries, US states and currencies: tables that several platforms' rules share.

Sources: ISO 3166-1 (249 codes), USPS Publication 28 appendix B, ISO 4217 list one (January 2026).
"""

from __future__ import annotations

import unicodedata
from typing import Final

#: The European Economic Area, the United Kingdom and Switzerland, where the law asks for consent first.
EEA: Final = frozenset(
    {
        "AT", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GR", "HR", "HU", "IE",
        "IS", "IT", "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK", "UK",
    }
)  # fmt: skip

_COUNTRY_LINES: Final = """
AD AND Andorra
AE ARE United Arab Emirates|UAE|Emirates
AF AFG Afghanistan
AG ATG Antigua and Barbuda|Antigua
AI AIA Anguilla
AL ALB Albania
AM ARM Armenia
AO AGO Angola
AQ ATA Antarctica
AR ARG Argentina
AS ASM American Samoa
AT AUT Austria
AU AUS Australia
AW ABW Aruba
AX ALA Åland Islands|Aland
AZ AZE Azerbaijan
BA BIH Bosnia and Herzegovina|Bosnia|Bosnia Hercegovina
BB BRB Barbados
BD BGD Bangladesh
BE BEL Belgium
BF BFA Burkina Faso
BG BGR Bulgaria
BH BHR Bahrain
BI BDI Burundi
BJ BEN Benin
BL BLM Saint Barthélemy|Saint Barts
BM BMU Bermuda
BN BRN Brunei Darussalam|Brunei
BO BOL Bolivia|Plurinational State of Bolivia|Bolivia (Plurinational State of)
BQ BES Bonaire, Sint Eustatius and Saba|Caribbean Netherlands|Bonaire
BR BRA Brazil|Brasil
BS BHS Bahamas
BT BTN Bhutan
BV BVT Bouvet Island
BW BWA Botswana
BY BLR Belarus
BZ BLZ Belize
CA CAN Canada
CC CCK Cocos (Keeling) Islands|Cocos Islands|Keeling Islands
CD COD Democratic Republic of the Congo|Congo (Democratic Republic of the)|Congo, Democratic Republic of the|Congo, The Democratic Republic of the|DR Congo|DRC|Congo Kinshasa
CF CAF Central African Republic
CG COG Republic of the Congo|Congo Brazzaville|Congo, Republic of the
CH CHE Switzerland
CI CIV Côte d'Ivoire|Ivory Coast
CK COK Cook Islands
CL CHL Chile
CM CMR Cameroon
CN CHN China|People's Republic of China|PRC|Mainland China
CO COL Colombia
CR CRI Costa Rica
CU CUB Cuba
CV CPV Cabo Verde|Cape Verde
CW CUW Curaçao
CX CXR Christmas Island
CY CYP Cyprus
CZ CZE Czechia|Czech Republic
DE DEU Germany|Federal Republic of Germany|Deutschland
DJ DJI Djibouti
DK DNK Denmark
DM DMA Dominica
DO DOM Dominican Republic
DZ DZA Algeria
EC ECU Ecuador
EE EST Estonia
EG EGY Egypt
EH ESH Western Sahara
ER ERI Eritrea
ES ESP Spain|España
ET ETH Ethiopia
FI FIN Finland
FJ FJI Fiji
FK FLK Falkland Islands|Falkland Islands (Malvinas)|Malvinas
FM FSM Micronesia|Federated States of Micronesia|Micronesia (Federated States of)
FO FRO Faroe Islands|Faroes
FR FRA France
GA GAB Gabon
GB GBR United Kingdom|UK|U.K.|Great Britain|Britain|England|Scotland|Wales|Northern Ireland|United Kingdom of Great Britain and Northern Ireland
GD GRD Grenada
GE GEO Georgia
GF GUF French Guiana
GG GGY Guernsey
GH GHA Ghana
GI GIB Gibraltar
GL GRL Greenland
GM GMB Gambia
GN GIN Guinea
GP GLP Guadeloupe
GQ GNQ Equatorial Guinea
GR GRC Greece|Hellenic Republic
GS SGS South Georgia and the South Sandwich Islands
GT GTM Guatemala
GU GUM Guam
GW GNB Guinea-Bissau
GY GUY Guyana
HK HKG Hong Kong|Hong Kong SAR|Hong Kong SAR China
HM HMD Heard Island and McDonald Islands
HN HND Honduras
HR HRV Croatia
HT HTI Haiti
HU HUN Hungary
ID IDN Indonesia
IE IRL Ireland|Republic of Ireland|EIRE
IL ISR Israel
IM IMN Isle of Man
IN IND India
IO IOT British Indian Ocean Territory
IQ IRQ Iraq
IR IRN Iran|Islamic Republic of Iran|Iran (Islamic Republic of)
IS ISL Iceland
IT ITA Italy|Italia
JE JEY Jersey
JM JAM Jamaica
JO JOR Jordan
JP JPN Japan
KE KEN Kenya
KG KGZ Kyrgyzstan
KH KHM Cambodia
KI KIR Kiribati
KM COM Comoros
KN KNA Saint Kitts and Nevis|Saint Kitts
KP PRK North Korea|Democratic People's Republic of Korea|Korea (Democratic People's Republic of)|Korea, Democratic People's Republic of|DPRK
KR KOR South Korea|Republic of Korea|Korea (Republic of)|Korea, Republic of|Korea, South
KW KWT Kuwait
KY CYM Cayman Islands
KZ KAZ Kazakhstan
LA LAO Laos|Lao People's Democratic Republic
LB LBN Lebanon
LC LCA Saint Lucia
LI LIE Liechtenstein
LK LKA Sri Lanka
LR LBR Liberia
LS LSO Lesotho
LT LTU Lithuania
LU LUX Luxembourg|Luxemburg
LV LVA Latvia
LY LBY Libya
MA MAR Morocco
MC MCO Monaco
MD MDA Moldova|Republic of Moldova|Moldova (Republic of)|Moldova, Republic of
ME MNE Montenegro
MF MAF Saint Martin|Saint Martin (French part)
MG MDG Madagascar
MH MHL Marshall Islands
MK MKD North Macedonia|Macedonia|Republic of North Macedonia|FYROM
ML MLI Mali
MM MMR Myanmar|Burma
MN MNG Mongolia
MO MAC Macao|Macau|Macao SAR|Macau SAR
MP MNP Northern Mariana Islands
MQ MTQ Martinique
MR MRT Mauritania
MS MSR Montserrat
MT MLT Malta
MU MUS Mauritius
MV MDV Maldives
MW MWI Malawi
MX MEX Mexico
MY MYS Malaysia
MZ MOZ Mozambique
NA NAM Namibia
NC NCL New Caledonia
NE NER Niger
NF NFK Norfolk Island
NG NGA Nigeria
NI NIC Nicaragua
NL NLD Netherlands|Holland|Netherlands (Kingdom of the)|Kingdom of the Netherlands
NO NOR Norway
NP NPL Nepal
NR NRU Nauru
NU NIU Niue
NZ NZL New Zealand|Aotearoa
OM OMN Oman
PA PAN Panama
PE PER Peru
PF PYF French Polynesia|Tahiti
PG PNG Papua New Guinea
PH PHL Philippines
PK PAK Pakistan
PL POL Poland
PM SPM Saint Pierre and Miquelon
PN PCN Pitcairn|Pitcairn Islands
PR PRI Puerto Rico
PS PSE Palestine|State of Palestine|Palestine, State of|Palestinian Territories
PT PRT Portugal
PW PLW Palau
PY PRY Paraguay
QA QAT Qatar
RE REU Réunion
RO ROU Romania
RS SRB Serbia
RU RUS Russia|Russian Federation
RW RWA Rwanda
SA SAU Saudi Arabia|Kingdom of Saudi Arabia|KSA
SB SLB Solomon Islands
SC SYC Seychelles
SD SDN Sudan
SE SWE Sweden
SG SGP Singapore
SH SHN Saint Helena, Ascension and Tristan da Cunha|Saint Helena
SI SVN Slovenia
SJ SJM Svalbard and Jan Mayen|Svalbard
SK SVK Slovakia|Slovak Republic
SL SLE Sierra Leone
SM SMR San Marino
SN SEN Senegal
SO SOM Somalia
SR SUR Suriname
SS SSD South Sudan
ST STP São Tomé and Príncipe
SV SLV El Salvador
SX SXM Sint Maarten|Sint Maarten (Dutch part)
SY SYR Syria|Syrian Arab Republic
SZ SWZ Eswatini|Swaziland
TC TCA Turks and Caicos Islands|Turks and Caicos
TD TCD Chad
TF ATF French Southern Territories
TG TGO Togo
TH THA Thailand
TJ TJK Tajikistan
TK TKL Tokelau
TL TLS Timor-Leste|East Timor
TM TKM Turkmenistan
TN TUN Tunisia
TO TON Tonga
TR TUR Türkiye|Turkey
TT TTO Trinidad and Tobago|Trinidad
TV TUV Tuvalu
TW TWN Taiwan|Taiwan (Province of China)|Taiwan, Province of China|Republic of China
TZ TZA Tanzania|United Republic of Tanzania|Tanzania, United Republic of
UA UKR Ukraine
UG UGA Uganda
UM UMI United States Minor Outlying Islands|US Minor Outlying Islands
US USA United States|United States of America|U.S.|U.S.A.|America
UY URY Uruguay
UZ UZB Uzbekistan
VA VAT Vatican City|Holy See|Vatican|Vatican City State
VC VCT Saint Vincent and the Grenadines|Saint Vincent
VE VEN Venezuela|Bolivarian Republic of Venezuela|Venezuela (Bolivarian Republic of)
VG VGB British Virgin Islands|Virgin Islands (British)
VI VIR US Virgin Islands|U.S. Virgin Islands|United States Virgin Islands|Virgin Islands (U.S.)
VN VNM Vietnam|Viet Nam
VU VUT Vanuatu
WF WLF Wallis and Futuna
WS WSM Samoa
YE YEM Yemen
YT MYT Mayotte
ZA ZAF South Africa|Republic of South Africa|RSA
ZM ZMB Zambia
ZW ZWE Zimbabwe
"""  # noqa: E501 -- one line per country

_STATE_LINES: Final = """
AL Alabama|AK Alaska|AZ Arizona|AR Arkansas|CA California|CO Colorado|CT Connecticut|DE Delaware
DC District of Columbia|DC Washington DC|FL Florida|GA Georgia|HI Hawaii|ID Idaho|IL Illinois|IN Indiana
IA Iowa|KS Kansas|KY Kentucky|LA Louisiana|ME Maine|MD Maryland|MA Massachusetts|MI Michigan|MN Minnesota
MS Mississippi|MO Missouri|MT Montana|NE Nebraska|NV Nevada|NH New Hampshire|NJ New Jersey|NM New Mexico
NY New York|NY New York State|NC North Carolina|ND North Dakota|OH Ohio|OK Oklahoma|OR Oregon|PA Pennsylvania
RI Rhode Island|SC South Carolina|SD South Dakota|TN Tennessee|TX Texas|UT Utah|VT Vermont|VA Virginia
WA Washington|WA Washington State|WV West Virginia|WI Wisconsin|WY Wyoming
AS American Samoa|GU Guam|MP Northern Mariana Islands|PR Puerto Rico|VI US Virgin Islands|VI Virgin Islands
UM US Minor Outlying Islands|AA Armed Forces Americas|AE Armed Forces Europe|AP Armed Forces Pacific
"""

_NO_DECIMALS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DECIMALS: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DECIMALS: Final = "CLF UYW"
_TWO_DECIMALS: Final = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY
COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS
INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR
MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP
STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
"""

#: ISO 4217 code to number of decimals. Metals, funds' units and test codes have none and are left out.
CURRENCIES: Final[dict[str, int]] = {
    code: decimals
    for decimals, codes in ((0, _NO_DECIMALS), (2, _TWO_DECIMALS), (3, _THREE_DECIMALS), (4, _FOUR_DECIMALS))
    for code in codes.split()
}

_DROPPED_WORDS: Final = frozenset({"the", "and", "of"})


def _name_key(text: str) -> str:
    """What different spellings of a name share: ``St. Kitts & Nevis`` and ``Saint Kitts and Nevis``."""
    text = "".join(char for char in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(char))
    text = text.replace("'", "").replace("’", "").replace(".", " ")
    words = "".join(char if char.isalnum() else " " for char in text).split()
    return "".join("saint" if word == "st" else word for word in words if word not in _DROPPED_WORDS)


def _country_tables() -> tuple[dict[str, str], dict[str, str]]:
    by_alpha2: dict[str, str] = {}
    by_name: dict[str, str] = {}
    for line in _COUNTRY_LINES.split("\n"):
        if line:
            alpha2, alpha3, names = line.split(" ", 2)
            first, *_ = spellings = names.split("|")
            by_alpha2[alpha2] = first
            by_name[alpha2.lower()] = by_name[alpha3.lower()] = alpha2
            by_name.update((_name_key(name), alpha2) for name in spellings)
    return by_alpha2, by_name


_tables: Final = _country_tables()
#: ISO 3166-1 alpha-2 code to a common English name.
COUNTRIES: Final = _tables[0]
# Kosovo's code is user-assigned in ISO 3166, but in use everywhere.
_COUNTRY_BY_NAME: Final = _tables[1] | {"xk": "XK", "xkx": "XK", "kosovo": "XK"}

#: USPS code to name: 50 states, the District of Columbia, territories and military post.
US_STATES: Final[dict[str, str]] = {}
_STATE_BY_NAME: Final[dict[str, str]] = {}
for _entry in _STATE_LINES.strip().replace("\n", "|").split("|"):
    _code, _, _name = _entry.partition(" ")
    US_STATES.setdefault(_code, _name)
    _STATE_BY_NAME[_name_key(_name)] = _STATE_BY_NAME[_code.lower()] = _STATE_BY_NAME["us" + _code.lower()] = _code


#: Code to the English and, where it differs, the French name of Canada's provinces and territories.
_PROVINCES: Final = {
    "AB": "Alberta", "BC": "British Columbia|Colombie-Britannique", "MB": "Manitoba",
    "NB": "New Brunswick|Nouveau-Brunswick", "NL": "Newfoundland and Labrador|Newfoundland|Terre-Neuve-et-Labrador",
    "NS": "Nova Scotia|Nouvelle-Écosse", "NT": "Northwest Territories|Territoires du Nord-Ouest", "NU": "Nunavut",
    "ON": "Ontario", "PE": "Prince Edward Island|Île-du-Prince-Édouard", "QC": "Quebec|Québec",
    "SK": "Saskatchewan", "YT": "Yukon|Yukon Territory",
}  # fmt: skip
_PROVINCE_BY_NAME: Final = {
    _name_key(spelling): code for code, names in _PROVINCES.items() for spelling in (*names.split("|"), f"CA-{code}")
}


def minor_units(currency: str) -> int | None:
    """How many decimals the currency has (USD 2, JPY 0, KWD 3), or ``None`` if there is no such currency."""
    return CURRENCIES.get(currency)


def is_currency(code: str) -> bool:
    """True for an active ISO 4217 code that prices are written in; upper case only."""
    return code in CURRENCIES


def country_code(text: str) -> str | None:
    """ISO 3166-1 alpha-2, upper case, of an alpha-2 or alpha-3 code or an English name; ``None`` if unknown.

    Names of two countries (``Congo``, ``Korea``, ``Virgin Islands``) are not guessed.
    """
    if len(text) == 2 and text.isascii() and (upper := text.upper()) in COUNTRIES:
        return upper
    return _COUNTRY_BY_NAME.get(_name_key(text))


def canadian_code(text: str) -> str | None:
    """The code, upper case, of a Canadian province or territory by its name or as ``CA-ON``; ``None`` if it is none."""
    return _PROVINCE_BY_NAME.get(_name_key(text))


def us_state_code(text: str) -> str | None:
    """USPS code, upper case, of a US state's or territory's code or name; ``None`` if it is none.

    ``US-CA`` (ISO 3166-2) is understood too.
    """
    return _STATE_BY_NAME.get(_name_key(text))
