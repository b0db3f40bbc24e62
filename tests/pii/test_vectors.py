"""Every vector that the platforms' documents, their own test suites or our specification print, written out."""
# ruff: noqa: E501 -- a table row stays on its line

from __future__ import annotations

from hashlib import sha256

import pytest

from capi_async.event import User
from capi_async.pii import normalize
from capi_async.pii.hashing import looks_hashed, sha256_hex
from capi_async.pii.identifiers import Plan

# attribute, user fields, normalised text, digest
HASHED = [
    ("email", {"email": "  Jane.Doe@Example.COM "}, "jane.doe@example.com", "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"),
    ("email", {"email": "  John_Smith@Gmail.com "}, "john_smith@gmail.com", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"),
    ("email", {"email": "Person@Example.com"}, "person@example.com", "542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345"),
    ("email", {"email": "  test@example.com "}, "test@example.com", "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"),
    ("email", {"email": "    test123@example.com  "}, "test123@example.com", "20b82517b67108ed3a171539dc5dd1da605660249b02f38dd70f572a545c7d18"),
    ("email", {"email": "   Test123@gmail.com    "}, "test123@gmail.com", "cc779c04191c2e736d89e45c11339c8382832bcaf70383f7df94e3d08ba7a6d9"),
    ("email", {"email": "USER+tag@Example.COM"}, "user+tag@example.com", "80e9aafb240be8b158f55455c7b056ac48d1cb9fe4d0bd7e244e0f26547d7dce"),
    ("email", {"email": "josé@exämple.de"}, "josé@exämple.de", "fd77ec53c6567bfa7b9f7110e10d3d985380bd7ab39c134586f9e35e1136f1db"),
    ("email", {"email": "test@test.com"}, "test@test.com", "f660ab912ec121d1b1e928a0bb4bc61b15f5ad44d5efdc4e1c92a25e99b8e44a"),
    ("email", {"email": "Jane.Doe+news@gmail.com"}, "jane.doe+news@gmail.com", "f41439c944a763c9812d700a779941cec169de13c9ccd13aaf9424ba5231620a"),
    ("email", {"email": "MIKE@EXAMPLE.COM"}, "mike@example.com", "18b258e9ade091623dd829132e1e9d8b4a7f7d90abea194001c54341c3f27b79"),
    ("email", {"email": "anna@example.com"}, "anna@example.com", "f7d54c22dda5b1780276601cd005909b70543fc4a6ba72d735b4cb9bbb611f01"),
    ("email_google", {"email": "  Jane.Doe@Gmail.com "}, "janedoe@gmail.com", "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"),
    ("email_google", {"email": "Jane.Doe+promo@googlemail.com"}, "janedoe@googlemail.com", "338abf9ef1c8793cadc7bcf51ed595338eb727ed9e06ce3d91d566d60b975937"),
    ("email_google", {"email": "cloudy.sanfrancisco+shopping@gmail.com"}, "cloudysanfrancisco@gmail.com", "223ebda6f6889b1494551ba902d9d381daf2f642bae055888e96343d53e9f9c4"),
    ("email_google", {"email": "user.name+NYC@Example.com"}, "user.name+nyc@example.com", "f109a2a632fbcea5fc82049f50beed3d8621bf9034399f437fb622222acccdac"),
    ("email_google", {"email": "  ALEXZ@example.com   "}, "alexz@example.com", "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a"),
    ("phone_e164", {"phone": "(800) 555-0100", "country": "US"}, "+18005550100", "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"),
    ("phone_e164", {"phone": "+44-113-496-0987"}, "+441134960987", "0fac52d27ec377f8ad2f9de75d1f9bace693237e31868ae6f4616b8bbd0e94fb"),
    ("first_name_google", {"first_name": "  GivenName  "}, "givenname", "128a07bfe2df877c52076e60d7774cf5baaa046c5a6c48daf30ff43ecca2f814"),
    ("first_name_google", {"first_name": "Mary Jane"}, "maryjane", "f08f448a5e7a9dc3619bb7c129f6a7d5fc6af002cea17ad71dfdc1c68f4d4e0e"),
    ("last_name_google", {"last_name": "O'Connor"}, "oconnor", "7a0fbfdf40cbeb97429bdb88f512cecd27f0d44b7e57986ab578423bb61936ac"),
    ("first_name_google", {"first_name": "Valéry"}, "valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
    ("email_google", {"email": "Jane.Doe@Example.COM"}, "jane.doe@example.com", "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"),
    ("email_google", {"email": "jane doe@example.com"}, "janedoe@example.com", "c4d25e9c90ff23e9145397bc6fbd5385ca5fbe78211222ccbecd0b369ebb19a6"),
    ("email_reddit", {"email": "alice@example.com"}, "alice@example.com", "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"),
    ("email_reddit", {"email": "Al.ice$+Apple@Example.Com"}, "alice@example.com", "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"),
    ("email_reddit", {"email": "John_Smith@Gmail.com"}, "johnsmith@gmail.com", "3586de92bb3636d0885a12eff961429a32e4ebd764b96f50d85d016f9338d586"),
    ("email_reddit", {"email": "mary-jane.w+x@shop.example"}, "maryjanew@shop.example", "9db8d76e272ea4059fc3f90d04ad261ce1ecd9e27aa18a2455a1d9360181b4ca"),
    ("email_reddit", {"email": "o'brien+a+b@example.org"}, "obrien@example.org", "26d3d7bc0c0a69df14efca64ddd4362e01252e35708f49130350a5c87bd0eafa"),
    ("external_id", {"external_id": " user-123 "}, "user-123", "fcdec6df4d44dbc637c7c5b58efface52a7f8a88535423430255be0bb89bedd8"),
    ("external_id", {"external_id": "User-123"}, "User-123", "9fd04ee71c44e21cddbd6c9eab81e2d21324f0ace8ec10cbb929b3390625fc9e"),
    ("external_id", {"external_id": "  User 123 "}, "User 123", "b49aede81094263c97b895219a206e11966a50b974099a63921d1a3a3772228b"),
    ("external_id_lower", {"external_id": "USER456"}, "user456", "c670f7b23c1bf997ec890e9d23ea7c016e12b243bdbd151f08baf5f0b86a7c5e"),
    ("external_id_lower", {"external_id": "user 123 id"}, "user123id", "8efe14adcaa49442f32f5292f2d8abc71fbbb7fa2aea663a201db21af978e6bd"),
    ("first_name_spaced", {"first_name": " Mary Ann "}, "mary ann", "343b97011010c3549fe7fcd6c226ed9431ea37b0b77ed78f6300a0098925faf1"),
    ("external_id", {"external_id": "123456"}, "123456", "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92"),
    ("external_id", {"external_id": "  User123 "}, "User123", "a61a8adf60038792a2cb88e670b20540a9d6c2ca204ab754fc768950e79e7d36"),
    ("last_name_plain", {"last_name": "O'Connor"}, "o'connor", "4f2ef4a6a43f26979bd89213257882df407ae215934cabfc9be3c69ba390a854"),
    ("last_name_plain", {"last_name": "O'Brien"}, "o'brien", "65b87174be3b1b122e2b0929f0b84888637d31a4a83bb96a860bcff411f5e668"),
    ("last_name_plain", {"last_name": "Doe"}, "doe", "799ef92a11af918e3fb741df42934f3b568ed2d93ac1df74f1b8d41a27932a6f"),
    ("first_name_plain", {"first_name": "John"}, "john", "96d9632f363564cc3032521409cf22a852f2032eec099ed5967c0d000cec607a"),
    ("first_name_plain", {"first_name": "Jane"}, "jane", "81f8f6dde88365f3928796ec7aa53f72820b06db8664f5fe76a7eb13e24546a2"),
    ("first_name_plain", {"first_name": " Zoë "}, "zoë", "2752b88686847fa5c86f47b94ce652b7b3f22a91c37617d451a4db9afa431450"),
    ("first_name_plain", {"first_name": "Gaurav"}, "gaurav", "44104fcaef8476724152090d6d7bd9afa8ca5b385f6a99d3c6cf36b943b9872d"),
    ("first_name_joined", {"first_name": "Raphae\u0308l"}, "raphaël", "e74bb89e718fe1e19c422a48382870399f8bf7ca8dfa008739e75b0be76627b7"),
    ("first_name_joined", {"first_name": "Raphaël"}, "raphaël", "e74bb89e718fe1e19c422a48382870399f8bf7ca8dfa008739e75b0be76627b7"),
    ("first_name_joined", {"first_name": "Mary Ann"}, "maryann", "16b3f07f0ec2f9dd127b71dc2e6c791b7d93116a1c3bc99d057eaa7a8a077e73"),
    ("first_name_joined", {"first_name": "Mary"}, "mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
    ("first_name_joined", {"first_name": "  Mary-Jane "}, "maryjane", "f08f448a5e7a9dc3619bb7c129f6a7d5fc6af002cea17ad71dfdc1c68f4d4e0e"),
    ("first_name_joined", {"first_name": "Valéry"}, "valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
    ("first_name_joined", {"first_name": "Vale\u0301ry"}, "valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
    ("first_name_joined", {"first_name": "정"}, "정", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14"),
    ("first_name_joined", {"first_name": "O’Connor"}, "oconnor", "7a0fbfdf40cbeb97429bdb88f512cecd27f0d44b7e57986ab578423bb61936ac"),
    ("last_name_joined", {"last_name": "O'Connor"}, "oconnor", "7a0fbfdf40cbeb97429bdb88f512cecd27f0d44b7e57986ab578423bb61936ac"),
    ("last_name_joined", {"last_name": "O'Brien"}, "obrien", "b4cb6cb33fe4b865868de825023a1e2790dc12ac01ecc8d7c5afe8254071c8ba"),
    ("last_name_joined", {"last_name": "van der Berg"}, "vanderberg", "aad607ca3121d5d843c2cd64e8c73c2a24fa3a4cb890ed8d40a1efa8af7a14d5"),
    ("last_name_joined", {"last_name": "Smith Jr."}, "smithjr", "bb519c8fecd3f7e3ef68d900a94cd5cac4eaf6ba2b964418c73d6fe4c49f76d8"),
    ("last_name_joined", {"last_name": "Müller"}, "müller", "2dbd218072117713f2d5996a726a9b216ed791ffd0783b6ba4ab6d61b8333192"),
    ("last_name_joined", {"last_name": "山田"}, "山田", "5f34cd8399195fa23a32ace56c87f461adcbee99d90d9e60057f01684b3b46da"),
    ("last_name_joined", {"last_name": "İpek"}, "i\u0307pek", "83617d047c375c442f33214da636ca4c40ff0c5c7c6b9e276f000923e7ca860f"),
    ("last_name_letters", {"last_name": "O'Connor 3rd"}, "oconnor rd", "c87cf09f02595c53d51578fdaa2a7110d65872c78ce5560d128d62be82190561"),
    ("first_name_letters", {"first_name": "Mary-Jane"}, "maryjane", "f08f448a5e7a9dc3619bb7c129f6a7d5fc6af002cea17ad71dfdc1c68f4d4e0e"),
    ("first_name_letters", {"first_name": " Valéry "}, "valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
    ("city_joined", {"city": "St. Louis"}, "stlouis", "8ba24bdf99947996f3000259be455de791b06fcc0e802ce05031030df1ee8ea3"),
    ("city_joined", {"city": "München"}, "münchen", "f75c175f552c8b2bf46ef4b282ee782c81cf8687f66a8fe8278cc56fa727503e"),
    ("city_joined", {"city": "Los Angeles"}, "losangeles", "8760663bb25fa79f35c2c14fb9c6bcbe444a8c938491cd24fe684a7056c9dbc4"),
    ("city_joined", {"city": "San Francisco"}, "sanfrancisco", "1a6bd4d9d79dc0a79b53795c70d3349fa9e38968a3fbefbfe8783efb1d2b6aac"),
    ("city_joined", {"city": "New York"}, "newyork", "350c754ba4d38897693aa077ef43072a859d23f613443133fecbbd90a3512ca5"),
    ("city_joined", {"city": "São Paulo"}, "sãopaulo", "3eda1428ae1aece064071f8d40f08fe2bc59ffa66c171a163caf15122ec4d7f0"),
    ("city_joined", {"city": "東京"}, "東京", "130016b2599bf7e5978cae78e528c67f29aa47eaa2490ffedd729df334a2790c"),
    ("city_joined", {"city": "Coeur d'Alene"}, "coeurdalene", "09c3b43cc0c54eefe5271dbd88f25beabebd71c617bb93694aceb87f5fee2319"),
    ("city_plain", {"city": "Los Angeles"}, "los angeles", "9f2608067816e38c85edfb0c3985feff32def8b5dc17bb522ffc2e877e9b386b"),
    ("state_code", {"state": "California"}, "ca", "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"),
    ("state_code", {"state": "CA"}, "ca", "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"),
    ("state_code", {"state": "california", "country": "USA"}, "ca", "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"),
    ("state_code", {"state": "New South Wales", "country": "AU"}, "newsouthwales", "96236847af45f93f09c6ba2627cdb8da07e395f009d0e42f782cffb119cc24da"),
    ("state_code", {"state": "New South Wales"}, "newsouthwales", "96236847af45f93f09c6ba2627cdb8da07e395f009d0e42f782cffb119cc24da"),
    ("state_code", {"state": "Île-de-France", "country": "FR"}, "îledefrance", "7f2f97f2a36f4cae0d099b382c08f83ec00532733befa7a2831942ab70360a48"),
    ("state_plain", {"state": "CA"}, "ca", "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"),
    ("zip_us5", {"zip": "94107-1234"}, "94107", "c884a209ebe08750a7d13db63bd02233b375bd79786cbe329ab11586cc35dead"),
    ("zip_us5", {"zip": "SW1A 1AA"}, "sw1a1aa", "830e1d4b9838bab1f5c2acdb23e0b502ff13a9832c4632e8d67a1d43d3b7f614"),
    ("zip_us5", {"zip": "SW1A 1AA", "country": "GB"}, "sw1a1aa", "830e1d4b9838bab1f5c2acdb23e0b502ff13a9832c4632e8d67a1d43d3b7f614"),
    ("zip_us5", {"zip": "01-234", "country": "PL"}, "01234", "c565fe03ca9b6242e01dfddefe9bba3d98b270e19cd02fd85ceaf75e2b25bf12"),
    ("zip_us5", {"zip": "90210-1234", "country": "US"}, "90210", "b83c588da0c6931625f42e0948054a3ade722bfd02c27816305742ed7390ac6c"),
    ("zip_us5", {"zip": "94035-1234", "country": "US"}, "94035", "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e"),
    ("zip_us5", {"zip": "94035 1234", "country": "US"}, "94035", "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e"),
    ("zip_us5", {"zip": "940351234", "country": "US"}, "94035", "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e"),
    ("zip_us5", {"zip": "M1 1AE"}, "m11ae", "1dc694c2070e697769fb959b50671d76cafd430d8ca191fbdd0affcaea344ac5"),
    ("zip_us5", {"zip": " 02116 "}, "02116", "438fc16bf08121cc2f6124e437a2d5fd35c5a347cae8ad9999c4b6d791f414b9"),
    ("zip_plain", {"zip": "00000"}, "00000", "e7042ac7d09c7bc41c8cfa5749e41858f6980643bc0db1a83cc793d3e24d3f77"),
    ("country", {"country": "US"}, "us", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
    ("country", {"country": "usa"}, "us", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
    ("country", {"country": "United States"}, "us", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
    ("country", {"country": "UK"}, "gb", "0b407281768f0e833afef47ed464b6571d01ca4d53c12ce5c51d1462f4ad6677"),
    ("country", {"country": "GB"}, "gb", "0b407281768f0e833afef47ed464b6571d01ca4d53c12ce5c51d1462f4ad6677"),
    ("country", {"country": "DE"}, "de", "959a45d44e6fcf58361ed004681556fe50129f2109e817dec098c00c9e5d2578"),
    ("gender", {"gender": "Female"}, "f", "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"),
    ("gender", {"gender": "F"}, "f", "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"),
    ("gender", {"gender": "male"}, "m", "62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a"),
    ("gender", {"gender": "non-binary"}, "n", "1b16b1df538ba12dc3f97edbb85caa7050d46c148134290feba80f8236c83db9"),
    ("dob", {"date_of_birth": "1997-12-26"}, "19971226", "069068313b0b2dd680b9f0b8082228a817fb100433ad1d825ccc4d20123669a8"),
    ("dob", {"date_of_birth": "19970216"}, "19970216", "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c"),
    ("dob", {"date_of_birth": "2/16/1997"}, "19970216", "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c"),
    ("dob", {"date_of_birth": "1997-02-16"}, "19970216", "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c"),
    ("dob", {"date_of_birth": "16.02.1997"}, "19970216", "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c"),
    ("dob_month", {"date_of_birth": "1997-12-26"}, "12", "6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918"),
    ("dob_day", {"date_of_birth": "1997-12-26"}, "26", "5f9c4ab08cac7457e9111a30e4664920607ea2c115a1433d7be98e97e64244ca"),
    ("mobile_ad_id", {"mobile_ad_id": "EA7583CD-A667-48BC-B806-42ECB2B48606"}, "ea7583cd-a667-48bc-b806-42ecb2b48606", "6cd6140c54b2741b81b0099b232a3ddaeed82df456f43563574877baec22b632"),
    ("mobile_ad_id", {"mobile_ad_id": "87A7DEF4-B6E9-4BF7-91B6-66372842007A"}, "87a7def4-b6e9-4bf7-91b6-66372842007a", "5af103f270fdc673b5e121ea929d1e47b2cee679e2059226a23c4cba37f8c9a9"),
    ("mobile_ad_id", {"mobile_ad_id": "CDDA802E-FB9C-47AD-9866-0794D394C912"}, "cdda802e-fb9c-47ad-9866-0794d394c912", "f23b554b2a8fb732a8b973733832e70f018da7bc294dfea289735a07d5dd2c9f"),
    ("idfa_upper", {"mobile_ad_id": "6d92078a-8246-4ba4-ae5b-76104861e7dc"}, "6D92078A-8246-4BA4-AE5B-76104861E7DC", "2afcf919a0c1953d177fcb412ea65138b44b4a42dda7d322225811767c0c530c"),
    ("ip_hashed", {"ip": "12.34.56.78"}, "12.34.56.78", "e7ff8105187d61e2262316b498dead85e9478c40d73b424c561abc0da33db69a"),
    ("ip_hashed", {"ip": "8.8.8.8"}, "8.8.8.8", "838c4c2573848f58e74332341a7ca6bc5cd86a8aec7d644137d53b4d597f10f5"),
]  # fmt: skip

PHONES = [
    # input, region, E.164, SHA-256 of the digits
    ("+44 844 412 4653", None, "+448444124653", "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383"),
    ("+448444124653", None, "+448444124653", "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383"),
    ("00448444124653", None, "+448444124653", "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383"),
    ("+44 (0)844 412 4653", None, "+448444124653", "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383"),
    ("0844 412 4653", "GB", "+448444124653", "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383"),
    ("+44-447-234-2344", None, "+444472342344", "19f25a18866af88fc60189c3af85010a0b971cf976053787fe21e004538c20a0"),
    ("0044-447-234-2344", None, "+444472342344", "19f25a18866af88fc60189c3af85010a0b971cf976053787fe21e004538c20a0"),
    ("+44-0447-234-2344", None, "+444472342344", "19f25a18866af88fc60189c3af85010a0b971cf976053787fe21e004538c20a0"),
    ("+44 0447 234 2344", None, "+444472342344", "19f25a18866af88fc60189c3af85010a0b971cf976053787fe21e004538c20a0"),
    ("+1-447-234-2344", None, "+14472342344", "34053b331d29734f081bf74160cd33bc2f621b3b6f8ec991500bebf49f14e014"),
    ("+1-(447) 234 2344", None, "+14472342344", "34053b331d29734f081bf74160cd33bc2f621b3b6f8ec991500bebf49f14e014"),
    ("447-234-2344", "US", "+14472342344", "34053b331d29734f081bf74160cd33bc2f621b3b6f8ec991500bebf49f14e014"),
    ("4472342344", "US", "+14472342344", "34053b331d29734f081bf74160cd33bc2f621b3b6f8ec991500bebf49f14e014"),
    ("(447)-234-2344", "US", "+14472342344", "34053b331d29734f081bf74160cd33bc2f621b3b6f8ec991500bebf49f14e014"),
    ("447 234-2344", "US", "+14472342344", "34053b331d29734f081bf74160cd33bc2f621b3b6f8ec991500bebf49f14e014"),
    ("+14155552671", None, "+14155552671", "758fbf68945f21c416814c539ab578876c8d98fb69e6da692def92cd52417fe0"),
    ("+1 (415) 555-2671", None, "+14155552671", "758fbf68945f21c416814c539ab578876c8d98fb69e6da692def92cd52417fe0"),
    ("+44 (0)20 7946 0958", None, "+442079460958", "35e206e5dec4c89b9e8b71b8c32724a5bb518483ac5a20c6617d738375b3b823"),
    ("0044 20 7946 0958", None, "+442079460958", "35e206e5dec4c89b9e8b71b8c32724a5bb518483ac5a20c6617d738375b3b823"),
    ("0501234567", "SA", "+966501234567", "c1ff1911b731b76634191b2a4cfc6425fe23aaa559535e89701c1118d858687a"),
    ("1234567890", "US", "+11234567890", "cf14fe3c9d73fcb3574d2643988efb2db605b1c224725bd322d7d2350467b4dc"),
    ("+1 (650) 555-1212", None, "+16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
    ("1-650-555-1212", "US", "+16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
    ("(650) 555-1212", "US", "+16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
    ("0016505551212", None, "+16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
    ("0016505551212", "US", "+16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
    ("+1.650.555.1212", None, "+16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
    ("+1 650 555 1212 ext. 34", None, "+16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
    ("00447911123456", None, "+447911123456", "40b5c38342a9c584ec707e8679b003f8c779c6aaa138c976ef94e049cc05208f"),
    ("07911 123456", "GB", "+447911123456", "40b5c38342a9c584ec707e8679b003f8c779c6aaa138c976ef94e049cc05208f"),
    ("+33 6 12 34 56 78", None, "+33612345678", "8a3e7886c9335e82e02299fa3e87b46e2de3b0c63d56003e30a5029394a47661"),
    ("+6531234567", None, "+6531234567", "dd6bb739beb38a6dd18ac5763b3fb9d229c4f0930e8210470ea5f4cce1816b0f"),
    ("+350 200 12345", None, "+35020012345", "1e3d8c51a6ac27f7ef59ff2c8c638100d141b28233e4a4145c5816ffbedc9caa"),
]  # fmt: skip

PHONES_E164 = [
    ("+1 (415) 555-2671", None, "+14155552671", "cb6880e416769253645cb9c6b8989154bf66a56a77fc14c81fb1019663cbb928"),
    ("+1 650-555-1212 ext 34", None, "+16505551212", "1e231c66011e7a2d867a9cfae267a6aff103cf4913640b6e71a99850fc0ffbc8"),
    ("(650) 555-1212", "US", "+16505551212", "1e231c66011e7a2d867a9cfae267a6aff103cf4913640b6e71a99850fc0ffbc8"),
    ("+44 7911 123456", None, "+447911123456", "20b18ac9de7b3aad174961827d8e451c410af9aedfd1d699927f4b29b81aa1fa"),
    ("0044 7911 123456", None, "+447911123456", "20b18ac9de7b3aad174961827d8e451c410af9aedfd1d699927f4b29b81aa1fa"),
    ("0033 6 12 34 56 78", None, "+33612345678", "42d573cfc315801d4cd8eddd5416b416a0bf298b9b9e12d6b07442c91db42bd8"),
    ("+44 20 7946 0958", None, "+442079460958", "f0bf0228144d9fe2bdf1da2d8ca698f17bf1410ee688b075c27062e47b6f0b6d"),
    ("+55 (41)9.9886-2934", None, "+5541998862934", "e379a7879266c54b8876bcb2bba6401cc5a3035dcd97b3a7846ed28ea0ca3360"),
    ("+12345678900", None, "+12345678900", "7f459725e1f658720fd2c41b71737eb3aef333edd9a96704cbddb5b884f0e129"),
]  # fmt: skip

SOUNDEX = [
    ("test_first", "T231"), ("test_last", "T234"), ("Los Angeles", "L252"), ("CA", "C000"), ("Hello world", "H464"),
    ("test", "T230"), ("business sdk", "B252"), ("conversion api", "C516"), ("testing", "T235"), ("Ashcraft", "A261"),
    ("Tymczak", "T522"), ("Pfister", "P236"), ("Honeyman", "H555"), ("Lee", "L000"), ("O'Brien", "O165"),
    ("Müller", "M460"), ("mass sam", "M225"),
]  # fmt: skip


@pytest.mark.parametrize(("attribute", "fields", "text", "digest"), HASHED)
def test_each_value_gives_the_printed_digest(attribute: str, fields: dict[str, str], text: str, digest: str) -> None:
    """And the normalised text beside it in the table is what that digest is of."""
    found = getattr(Plan({attribute}).identify(User(**fields)), attribute)
    assert found in (digest, (digest,))
    assert sha256(text.encode()).hexdigest() == digest


@pytest.mark.parametrize(("given", "region", "number", "digest"), PHONES)
def test_each_phone_gives_the_printed_digest_of_its_digits(
    given: str, region: str | None, number: str, digest: str
) -> None:
    """Snap, Pinterest and Meta hash the digits alone."""
    assert normalize.phone(given, region) == number
    assert normalize.phone_digits(given, region) == number[1:]
    assert Plan({"phone_digits"}, phone_region=region).identify(User(phone=given)).phone_digits == (digest,)


@pytest.mark.parametrize(("given", "region", "number", "digest"), PHONES_E164)
def test_each_phone_gives_the_printed_digest_with_its_plus(
    given: str, region: str | None, number: str, digest: str
) -> None:
    """TikTok, Google and Reddit hash the plus sign too."""
    assert normalize.phone_e164(given, region) == number
    assert Plan({"phone_e164"}, phone_region=region).identify(User(phone=given)).phone_e164 == (digest,)


@pytest.mark.parametrize(("given", "code"), SOUNDEX)
def test_soundex_codes(given: str, code: str) -> None:
    """As Snap's own SDK computes them, where its vectors say."""
    assert normalize.soundex(given) == code


@pytest.mark.parametrize(
    "address",
    ["a b@example.com", "john@example.com, jane@example.com", "not-an-email", "jane@localhost", "jane@example.",
     "@example.com", "a@b@c.de", "jane@@example.com", "Jane <jane@example.com>", "d41d8cd98f00b204e9800998ecf8427e",
     "jane@exa mple.com", "ja\u200bne@example.com", "j***@example.com", "mailto:jane@example.com"],
)  # fmt: skip
def test_what_is_not_one_address_is_refused(address: str) -> None:
    """No repair by guessing: a digest of it would match nobody."""
    found = Plan({"email"}).identify(User(email=address))
    assert found.email is None
    assert "email" in found.refused
    assert address not in found.refused["email"]


def test_sha256_of_nothing_is_never_made() -> None:
    """The digest of empty text joins everybody who left the field empty."""
    with pytest.raises(ValueError, match="empty"):
        sha256_hex("")
    assert sha256_hex("jane") == "81f8f6dde88365f3928796ec7aa53f72820b06db8664f5fe76a7eb13e24546a2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a" * 64, True), ("A1" * 32, True), ("a" * 63, False), ("g" * 64, False), ("a" * 32, False),
     ("a" * 64 + "\n", False), ("a" * 63 + "\n", False), ("", False), ("١" * 64, False)],
)  # fmt: skip
def test_a_digest_is_64_hex_digits_and_nothing_else(text: str, expected: bool) -> None:
    """An MD5 may as well be a UUID."""
    assert looks_hashed(text) is expected
