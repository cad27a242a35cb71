"""The terms of Larkmoor Tea, a shop that does not exist."""

from marketllm.marketing.service.passages import Passage

_TERMS = """
about: Larkmoor Tea sells tea, coffee, biscuits and teaware. For all questions write
to help@larkmoor.example or call us on working days.

returns-window: You can send back unopened goods within 30 days of delivery and get
your money back.

returns-opened: Opened tea, coffee and biscuits cannot be sent back, because they are
food. Opened teaware can, if it is clean and unused.

returns-how: To return goods, print a return label under My orders and hand in the
parcel at any post office.

returns-cost: A return costs 3.50 euros, which we keep from the refund. If the fault
is ours, the return is free.

returns-refund: We refund within 10 working days after the goods have reached our
warehouse, in the same way as you paid.

returns-exchange: We do not exchange goods. Return what you do not want and place a
new order.

returns-gift: A gift can be returned by the person who received it. The value is then
paid as a voucher.

returns-sale: Goods from the sale corner can be returned within 14 days.

delivery-cost: Delivery inside the country costs 4.90 euros. From an order value of 45
euros it is free.

delivery-time: Parcels inside the country arrive 2 to 4 working days after the order.

delivery-express: Express delivery costs 9.90 euros. If you order before 12:00, the
parcel arrives on the next working day.

delivery-europe: We deliver to all countries of the European Union. It costs 12.00
euros and takes 5 to 8 working days.

delivery-outside: We do not deliver outside the European Union.

delivery-tracking: When the parcel leaves our warehouse, we send an e-mail with a
tracking number.

delivery-lost: If a parcel has not arrived 7 working days after the order, write to us.
We ask the carrier, and if it is lost we send the goods again.

delivery-missed: If nobody is at home, the carrier leaves a card. The parcel then waits
6 days at the nearest post office.

delivery-address: You can change the delivery address under My orders until the parcel
has left our warehouse.

delivery-broken: If goods arrive broken, send a photograph within 5 days. We replace
them free of charge.

delivery-locker: We deliver to parcel lockers. Write the number of the locker in the
second line of the address.

delivery-parts: If an article is not in stock, we send the rest first. The second
parcel costs you nothing.

delivery-packaging: Our boxes are made of recycled cardboard and are filled with paper,
without plastic.

orders-cancel: You can cancel an order free of charge under My orders until it is
packed.

orders-change: Articles cannot be added to a finished order. Cancel it and order again.

orders-minimum: There is no minimum order value.

orders-confirmation: You get a confirmation by e-mail a few minutes after the order. If
it is not there, look into the spam folder.

payment-methods: You can pay by credit card, bank transfer or invoice.

payment-invoice: Customers who have ordered before can pay by invoice. It is due 21
days after delivery.

payment-charged: We charge the credit card when the parcel leaves our warehouse, not
before.

payment-reminder: If an invoice is overdue, we send a reminder. From the second
reminder on we charge 5.00 euros.

payment-tax: All prices include value added tax. The tax invoice is in your account as
a PDF.

payment-declined: If your card is declined, we hold the order for 48 hours, so that you
can pay in another way.

payment-instalments: We do not offer payment in instalments.

vouchers-buy: Gift vouchers have a value of 10 to 150 euros and come by e-mail.

vouchers-valid: A gift voucher is valid for 3 years.

vouchers-redeem: Enter the voucher code on the payment page. One voucher can be used
for each order.

vouchers-rest: If a voucher is worth more than the order, the rest stays on it. We do
not pay out vouchers in cash.

vouchers-lost: If a voucher is lost, we send the code again to the address of the
person who bought it.

discounts-welcome: New customers who take the newsletter get 5.00 euros off the first
order.

discounts-students: Students get 10 per cent off with a valid student card.

discounts-sale: Discount codes cannot be used for goods from the sale corner.

points-earn: For each euro you get 1 leaf. For 100 leaves we take 4.00 euros off an
order.

points-expire: Leaves expire 18 months after you got them.

subscription-box: The tea box brings four teas on the first working day of each month.
It costs 24.00 euros, delivery included.

subscription-pause: You can pause or stop the tea box in your account until the 20th of
the month before.

warranty-teaware: Teapots, cups and kettles have a warranty of 24 months.

warranty-claim: For a claim under the warranty send the serial number, which is under
the base, and a photograph.

warranty-excluded: The warranty does not cover limescale, scratches or a fall.

products-organic: Teas with a green leaf on the tin are certified organic.

products-allergens: Our biscuits contain gluten and may hold traces of nuts. The teas
are packed in another building.

products-caffeine: Herbal and fruit teas hold no caffeine.

products-storage: Keep tea dry and dark. An opened tin is best within 12 months.

products-sold-out: If an article is sold out, press Tell me, and we write to you when
it is back.

products-samples: You can order up to 3 samples for 1.50 euros each.

privacy-data: We keep your name, address and orders. We do not sell them to anybody.

privacy-delete: To have your account deleted, write to privacy@larkmoor.example. We
delete it within one month.

privacy-newsletter: At the foot of each newsletter is a link to unsubscribe.

account-password: If you forgot your password, press Forgotten on the login page. The
link we send is valid for 60 minutes.

hours-telephone: Our telephone is answered from Monday to Friday, 9:00 to 17:00.

hours-shop: Our shop in Harbour Street is open from Tuesday to Saturday, 10:00 to
18:30.

hours-collect: You can collect an order in our shop. It is ready after 2 hours and
waits 10 days.

business-wholesale: Cafes and offices get a price list of their own from 10 kilograms
on. Write to trade@larkmoor.example.
"""


def larkmoor_terms() -> list[Passage]:
    """Give the terms of the invented shop, one passage for each rule.

    Returns
    -------
    list of Passage
        The first one says in general what the shop is and how to write to it.
    """
    passages = []
    for block in _TERMS.strip().split("\n\n"):
        name, _, text = block.partition(":")
        passages.append(Passage(name, " ".join(text.split())))
    return passages
